"""What all tests share: the small networks of calibration and of every emitter, the order of the files, their marks."""

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
    "dashboards/test_live.py",
    "e2e/test_tune.py",
    "gateway/test_whole.py",
    "build/test_killed.py",
    "gateway/test_hostile_input.py",
    "gateway/test_haproxy_replicas.py",
    "kubernetes/test_api_server.py",
    "api/test_page.py",
    "client/test_memory.py",
)
# The Makefile chooses files by these words, so that no worker imports the others.
WORDS_OF_MARKS = {name: f"mark.{name}" for name in ("e2e", "slow", "alone", "waits", "imports")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {file: place for place, file in enumerate(LONGEST)}
    tests = Path(__file__).parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(tests).as_posix(), len(rank)))
    texts = {path: path.read_text(encoding="utf-8") for path in {item.path for item in items}}
    for item in items:
        for name, words in WORDS_OF_MARKS.items():
            if item.get_closest_marker(name) and words not in texts[item.path]:
                raise pytest.UsageError(f"{item.nodeid} is marked {name} from elsewhere: write {words} in its file")


def pytest_collection_finish() -> None:
    """What importing all tests has made stays: no collection of garbage looks at these million objects again."""
    gc.collect()
    gc.freeze()
