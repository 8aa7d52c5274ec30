"""The API with jobs and nobody who does them: tests end them as a worker would."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai102 import contract as spec
from ai102.api.app import JobsHere, application
from ai102.api.limits import Limits
from ai102.client import AsyncClient
from ai102.contract.answers import asked_from_contract
from ai102.jobs.ledger.ledger import Ledger
from ai102.jobs.quota import Bounds
from ai102.jobs.service import Options, taking

ROOT = Path(__file__).parent.parent.parent.parent
NOBODY = "grpc://127.0.0.1:1"
Test = Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]


class Api:
    """Runs a test within an API over a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.options = Options(folder)
        self.ledger = self.options.ledger()

    def run(self, test: Test, **bounds: int) -> None:
        options = Options(self.options.folder, bounds=Bounds(**bounds)) if bounds else self.options

        async def go() -> None:
            async with _opened(options) as client:
                await test(client)

        asyncio.run(go())


@asynccontextmanager
async def _opened(options: Options) -> AsyncIterator[httpx.AsyncClient]:
    contract = spec.load(ROOT / "models.toml")
    models = {model.name: model for model in contract.served_models}
    async with AsyncClient(NOBODY, shared_memory=False) as triton, taking(options, lambda line: None) as jobs:
        asked = asked_from_contract(contract)
        app = application(asked, triton, Limits(), lambda line: None, jobs=JobsHere(jobs, models)).asgi
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", timeout=30) as client:
            yield client


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    opened = Api(tmp_path / "jobs")
    yield opened
    opened.ledger.close()


@pytest.fixture
def ledger(api: Api) -> Ledger:
    return api.ledger
