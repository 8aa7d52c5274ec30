"""The queue behind real Dapr sidecars and a real Redis, each of which may be killed."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.jobs.job import JobsError, Priority
from ai102.jobs.ledger.ledger import Notice
from ai102.jobs.queue.dapr import DaprQueue
from tests.jobs.queue_promises import *  # noqa: F403
from tests.jobs.queue_promises import IN_TIME_S, Queues, Taken, notices, opened, taken
from tests.jobs.sidecars import Redis, Sidecar, redis, sidecar
from tests.ports import free_port

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[Path, Redis, Sidecar]]:
    """A folder, the broker, and the sidecar of an API."""
    with (
        tempfile.TemporaryDirectory(prefix="ai102-dapr-") as folder,
        redis(Path(folder)) as server,
        sidecar(Path(folder), server.port) as api,
    ):
        yield Path(folder), server, api


@pytest.fixture
def queues(parts: tuple[Path, Redis, Sidecar]) -> Iterator[Queues]:
    """Each test has a sidecar of its own for its worker: one whose worker has gone may bring nothing more."""
    folder, server, api = parts
    server.asked("FLUSHALL")
    with sidecar(folder, server.port, f"127.0.0.1:{free_port()}") as worker:
        yield Queues(lambda: DaprQueue(api.url), lambda: DaprQueue(worker.url, listen=worker.app))


def test_a_sidecar_that_started_without_its_broker_is_started_again(tmp_path: Path) -> None:
    with redis(tmp_path) as server:
        server.kill()
        with sidecar(tmp_path, server.port) as made:

            async def publish() -> None:
                async with opened(lambda: DaprQueue(made.url)) as queue:
                    await queue.publish(notices("a"))

            with pytest.raises(JobsError, match="not found"):
                asyncio.run(publish())
            assert made.process is not None
            assert made.process.wait(timeout=IN_TIME_S) == 0
            server.start()
            made.start()
            made.wait_until_it_publishes()
            asyncio.run(publish())


def test_a_worker_has_its_sidecar_started_again_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai102.jobs.queue.dapr.LOOK_S", 0.1)
    with redis(tmp_path) as server:
        server.kill()
        with sidecar(tmp_path, server.port, f"127.0.0.1:{free_port()}") as made:

            async def go() -> None:
                async with opened(lambda: DaprQueue(made.url, listen=made.app)) as worker:
                    working = asyncio.create_task(taken(worker, 1))
                    assert made.process is not None
                    assert await asyncio.to_thread(made.process.wait, IN_TIME_S) == 0
                    server.start()
                    made.start()
                    made.wait_until_it_publishes()
                    async with opened(lambda: DaprQueue(made.url)) as queue:
                        await queue.publish(notices("a"))
                    assert (await working).ids == ["a"]

            asyncio.run(go())


def test_what_was_published_outlives_who_published_and_who_consumed(parts: tuple[Path, Redis, Sidecar]) -> None:
    """As with the other queue, with another sidecar for each worker."""
    folder, server, api = parts
    server.asked("FLUSHALL")

    async def go(ids: str) -> None:
        with sidecar(folder, server.port, f"127.0.0.1:{free_port()}") as made:
            async with opened(lambda: DaprQueue(made.url, listen=made.app)) as worker:
                assert sorted(set((await taken(worker, len(ids))).ids)) == list(ids)

    async def publish(ids: str) -> None:
        async with opened(lambda: DaprQueue(api.url)) as queue:
            await queue.publish(notices(ids))

    for ids in ("abc", "d"):
        asyncio.run(publish(ids))
        asyncio.run(go(ids))


def test_while_a_worker_has_no_room_the_higher_priority_comes_next(queues: Queues) -> None:
    async def go() -> None:
        async with opened(queues.api) as api, opened(queues.worker) as worker:
            bag = Taken(3)
            has_room, began = asyncio.Event(), asyncio.Event()

            async def take(brought: Sequence[Notice]) -> None:
                began.set()
                await has_room.wait()
                await bag.take(brought)

            consuming = asyncio.create_task(worker.consume(take, 1))
            await api.publish(notices("a"))
            async with asyncio.timeout(IN_TIME_S):
                await began.wait()
            await api.publish(notices("l", Priority.LOW))
            await asyncio.sleep(1)  # both are with the worker then
            await api.publish(notices("h", Priority.HIGH))
            await asyncio.sleep(1)
            has_room.set()
            await bag.wait()
            assert bag.ids == ["a", "h", "l"]
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)

    asyncio.run(go())


def test_a_sidecar_that_is_not_there_is_one_line() -> None:
    async def go() -> None:
        async with opened(lambda: DaprQueue("http://127.0.0.1:1")) as queue:
            with pytest.raises(JobsError, match=r"the sidecar http://127.0.0.1:1: "):
                await queue.publish(notices("a"))

    asyncio.run(go())


def test_a_worker_without_an_address_is_one_line() -> None:
    async def go() -> None:
        async with opened(lambda: DaprQueue("http://127.0.0.1:1")) as queue:
            with pytest.raises(UserError, match="needs an address where the sidecar brings it jobs"):
                await queue.consume(Taken(1).take, 1)

    asyncio.run(go())
