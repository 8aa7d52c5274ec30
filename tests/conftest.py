"""What all tests share: the small networks of calibration and of every emitter, and the order of the files."""

import gc
from pathlib import Path

import pytest

from tests.tiny_nets import residual_cnn, transformer_block


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    return residual_cnn(tmp_path / "cnn.onnx")


@pytest.fixture
def block(tmp_path: Path) -> Path:
    return transformer_block(tmp_path / "block.onnx")


# A file runs on one worker, so those that take longest begin first.
LONGEST = (
    "monitoring/test_paging.py",
    "lint/test_agreement.py",
    "loadtest/test_locust.py",
    "dashboards/test_live.py",
    "client/test_deadlines.py",
    "e2e/test_tune.py",
    "client/test_bad_input.py",
    "gateway/test_hostile_input.py",
    "gateway/test_haproxy_replicas.py",
    "gateway/test_whole.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {file: place for place, file in enumerate(LONGEST)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(tests).as_posix(), len(rank)))


def pytest_collection_finish() -> None:
    """What importing all tests has made stays: no collection of garbage looks at these million objects again."""
    gc.collect()
    gc.freeze()
