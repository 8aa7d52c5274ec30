"""One Triton and one API before it, for all tests of this room that need real ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import ROOT, Served, served
from tests.servers import Server

MODELS = ("classify_image", "score_image", "embed_text")


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log: Path = tmp_path_factory.mktemp("api") / "tritonserver.log"
    with Server(ROOT / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=MODELS, log=log) as started:
        yield started
        assert started.wait(0) is None, "bad input brought the server down"


@pytest.fixture(scope="session")
def real(triton: Server) -> Iterator[Served]:
    with served(triton) as started:
        yield started
        assert started.process.poll() is None
