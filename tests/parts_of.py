"""Third-party programs for tests: from the cache of `ai102 parts`, or the test skips and says what to run."""

from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import program


def program_or_skip(part: str, name: str = "") -> Path:
    """The program `name` of a part, by default the one that is called as the part."""
    try:
        return program(part, name)
    except UserError as err:
        pytest.skip(str(err))
