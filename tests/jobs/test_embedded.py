"""The queue in an SQLite file."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.jobs.job import JobsError, Priority
from ai102.jobs.ledger.ledger import Notice
from ai102.jobs.queue.embedded import EmbeddedQueue
from tests.jobs.queue_promises import *  # noqa: F403
from tests.jobs.queue_promises import IN_TIME_S, Queues, notices, opened, taken


@pytest.fixture
def queues(tmp_path: Path) -> Queues:
    return Queues(lambda: EmbeddedQueue(tmp_path / "queue.db"), lambda: EmbeddedQueue(tmp_path / "queue.db"))


def test_notices_come_in_order_and_the_higher_priority_first(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as queue:
            await queue.publish(notices("l", Priority.LOW) + notices("nm") + notices("h", Priority.HIGH))
            assert (await taken(queue, 4, most=1)).lists == [["h"], ["n"], ["m"], ["l"]]

    asyncio.run(go())


def test_a_second_worker_is_refused(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.worker) as one, opened(queues.worker) as other:
            await one.publish(notices("a"))
            began = asyncio.Event()

            async def take(brought: Sequence[Notice]) -> None:
                began.set()

            consuming = asyncio.create_task(one.consume(take, 10))
            async with asyncio.timeout(IN_TIME_S):
                await began.wait()
                with pytest.raises(UserError, match="another worker takes jobs from it"):
                    await other.consume(take, 10)
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)

    asyncio.run(go())


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    async def go() -> None:
        with pytest.raises(JobsError, match="unable to open database file"):
            EmbeddedQueue(tmp_path / "missing" / "queue.db")

    asyncio.run(go())
