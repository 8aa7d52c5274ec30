"""A queue that brings nothing: workers take all of its jobs from the ledger, at their full speed."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ai102 import contract
from ai102.client import AsyncClient
from ai102.jobs.job import State
from ai102.jobs.ledger.ledger import Ledger, Notice
from ai102.jobs.metrics import WorkerMetrics
from ai102.jobs.queue.queue import Take
from ai102.jobs.worker.direct import Unseen
from ai102.jobs.worker.worker import Settings, Worker, models_of
from tests.jobs.new import job
from tests.servers import Server

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
# More than twelve times as many as are taken at once: taken after a silence each, they would not be done in time.
COUNT, SILENCE_S, IN_TIME_S = 5_000, 5.0, 60.0


class SilentQueue:
    async def publish(self, notices: Sequence[Notice]) -> None: ...

    async def consume(self, take: Take, most: int) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None: ...


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("silent") / "tritonserver.log"
    with Server(
        ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=["digits_int8"], log=log
    ) as started:
        yield started


def test_jobs_of_a_silent_queue_are_done_one_after_another_without_a_pause(served: Server, tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    for _ in range(0, COUNT, 500):
        ledger.accept([job(value=3) for _ in range(500)])

    async def go() -> None:
        models = models_of(contract.load(ROOT / "models.toml"))
        settings = Settings(overtaken_s=SILENCE_S)
        async with AsyncClient(f"grpc://{served.grpc_url}", shared_memory=False) as client:
            worker = Worker(
                ledger, SilentQueue(), client, Unseen(), models, settings, WorkerMetrics(), lambda line: None
            )
            work = asyncio.create_task(worker.run())
            try:
                async with asyncio.timeout(IN_TIME_S):
                    while ledger.count_by_state()[State.SUCCEEDED] < COUNT:
                        await asyncio.sleep(0.1)
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    asyncio.run(go())
    ledger.close()
