from pathlib import Path

import pytest

from ai102.parts import Cache
from tests.parts.stand_ins import Recorder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", tmp_path / "sources")


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()
