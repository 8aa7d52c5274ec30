"""What each queue promises to those who publish and to the worker.

A test file imports these and gives `queues`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from ai102.jobs.job import JobsError, Priority
from ai102.jobs.ledger.ledger import Notice
from ai102.jobs.queue.queue import Queue

IN_TIME_S = 60.0


class Queues(NamedTuple):
    """Makes the queue of an API, and that of a worker, within an event loop."""

    api: Callable[[], Queue]
    worker: Callable[[], Queue]


def notices(text: str, priority: Priority = Priority.NORMAL) -> list[Notice]:
    return [Notice(id, priority) for id in text]


@asynccontextmanager
async def opened(make: Callable[[], Queue]) -> AsyncIterator[Queue]:
    queue = make()
    try:
        yield queue
    finally:
        await queue.close()


class Taken:
    """What a consumer was brought: the ids, in the lists in which they came."""

    def __init__(self, count: int) -> None:
        self.lists: list[list[str]] = []
        self._count = count
        self._is_enough = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        return [id for ids in self.lists for id in ids]

    async def take(self, brought: Sequence[Notice]) -> None:
        self.lists.append([notice.id for notice in brought])
        if len(set(self.ids)) >= self._count:
            self._is_enough.set()

    async def wait(self) -> None:
        async with asyncio.timeout(IN_TIME_S):
            await self._is_enough.wait()


async def taken(queue: Queue, count: int, most: int = 100) -> Taken:
    """Consume until `count` notices were brought."""
    bag = Taken(count)
    consuming = asyncio.create_task(queue.consume(bag.take, most))
    await bag.wait()
    await asyncio.sleep(0.1)  # so that what was taken is also forgotten
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    return bag


def test_what_is_published_is_brought(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            await api.publish(notices("abc") + notices("h", Priority.HIGH))
            await api.publish(notices("l", Priority.LOW))
            assert sorted((await taken(worker, 5)).ids) == list("abchl")

    asyncio.run(go())


def test_a_notice_of_another_process_is_seen_while_the_worker_waits(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            taking = asyncio.create_task(taken(worker, 1))
            await asyncio.sleep(0.2)
            await api.publish(notices("a"))
            assert (await taking).ids == ["a"]

    asyncio.run(go())


def test_no_more_are_brought_at_once_than_asked_for(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            await api.publish(notices("abcdefgh"))
            bag = await taken(worker, 8, most=3)
            assert max(map(len, bag.lists)) <= 3
            assert sorted(set(bag.ids)) == list("abcdefgh")

    asyncio.run(go())


def test_what_is_not_taken_is_brought_again(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            bag = Taken(2)
            tries = 0

            async def take(brought: Sequence[Notice]) -> None:
                nonlocal tries
                tries += 1
                if tries == 1:
                    raise JobsError("the ledger is locked")
                await bag.take(brought)

            await api.publish(notices("ab"))
            consuming = asyncio.create_task(worker.consume(take, 10))
            await bag.wait()
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)

    asyncio.run(go())


def test_what_was_published_outlives_who_published_and_who_consumed(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as api:
            await api.publish(notices("abc"))
        async with opened(queues.worker) as worker:
            assert sorted((await taken(worker, 3)).ids) == list("abc")
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            await api.publish(notices("d"))
            assert (await taken(worker, 1)).ids == ["d"]

    asyncio.run(go())


def test_many_are_brought_whole(queues: Queues) -> None:
    async def go() -> None:
        ids = [f"{number:05d}" for number in range(3000)]
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            await api.publish([Notice(id, Priority.NORMAL) for id in ids])
            assert set((await taken(worker, 3000, most=256)).ids) == set(ids)

    asyncio.run(go())
