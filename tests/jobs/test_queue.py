"""What each queue promises to those who publish and to the worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.jobs.job import JobsError, Priority
from ai102.jobs.ledger.ledger import Notice
from ai102.jobs.queue.embedded import EmbeddedQueue
from ai102.jobs.queue.queue import Queue

IN_TIME_S = 20.0


def notices(text: str, priority: Priority = Priority.NORMAL) -> list[Notice]:
    return [Notice(id, priority) for id in text]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Queue]:
    queue = EmbeddedQueue(folder / "queue.db")
    try:
        yield queue
    finally:
        await queue.close()


async def taken(queue: Queue, count: int, most: int = 100) -> list[list[str]]:
    """The ids of the next `count` notices, in the lists in which they came."""
    lists: list[list[str]] = []
    enough = asyncio.Event()

    async def take(brought: Sequence[Notice]) -> None:
        lists.append([notice.id for notice in brought])
        if sum(map(len, lists)) >= count:
            enough.set()

    consuming = asyncio.create_task(queue.consume(take, most))
    async with asyncio.timeout(IN_TIME_S):
        await enough.wait()
        await asyncio.sleep(0.05)  # so that what was taken is also forgotten
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    return lists


def test_what_is_published_is_brought_in_order(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as queue:
            await queue.publish(notices("abc"))
            await queue.publish(notices("d"))
            assert await taken(queue, 4) == [list("abcd")]

    asyncio.run(go())


def test_the_higher_priority_comes_first(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as queue:
            await queue.publish(notices("l", Priority.LOW) + notices("n") + notices("h", Priority.HIGH))
            assert await taken(queue, 3, most=1) == [["h"], ["n"], ["l"]]

    asyncio.run(go())


def test_no_more_are_brought_at_once_than_asked_for(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as queue:
            await queue.publish(notices("abcde"))
            assert await taken(queue, 5, most=2) == [["a", "b"], ["c", "d"], ["e"]]

    asyncio.run(go())


def test_what_is_not_taken_is_brought_again(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as queue:
            await queue.publish(notices("ab"))
            tries = 0
            over = asyncio.Event()

            async def take(brought: Sequence[Notice]) -> None:
                nonlocal tries
                tries += 1
                if tries == 1:
                    raise JobsError("the ledger is locked")
                assert [notice.id for notice in brought] == ["a", "b"]
                over.set()

            consuming = asyncio.create_task(queue.consume(take, 10))
            async with asyncio.timeout(IN_TIME_S):
                await over.wait()
            consuming.cancel()

    asyncio.run(go())


def test_what_was_published_outlives_who_published_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as queue:
            await queue.publish(notices("abc"))
        async with opened(tmp_path) as queue:
            assert await taken(queue, 3) == [["a", "b", "c"]]
        async with opened(tmp_path) as queue:
            await queue.publish(notices("d"))
            assert await taken(queue, 1) == [["d"]]

    asyncio.run(go())


def test_a_notice_of_another_process_is_seen(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as worker, opened(tmp_path) as api:
            taking = asyncio.create_task(taken(worker, 1))
            await asyncio.sleep(0.1)
            await api.publish(notices("a"))
            assert await taking == [["a"]]

    asyncio.run(go())


def test_a_second_worker_is_refused_by_an_embedded_queue(tmp_path: Path) -> None:
    async def go() -> None:
        async with opened(tmp_path) as one, opened(tmp_path) as other:
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

    asyncio.run(go())


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    async def go() -> None:
        with pytest.raises(JobsError, match="unable to open database file"):
            EmbeddedQueue(tmp_path / "missing" / "queue.db")

    asyncio.run(go())
