"""The masker of the corpus: every kind, all replaced."""

from pathlib import Path

import pytest

from ai102.masking import Masker

RULES = Path(__file__).with_name("rules.toml")


@pytest.fixture(scope="session")
def masker() -> Masker:
    return Masker.of(RULES)
