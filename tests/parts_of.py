"""Third-party programs for tests: from the cache of `ai102 parts`, or the test skips and says what to run."""

import subprocess
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import program

# The first compiler and the plain collector: a server that answers few questions starts with half of the work.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def program_or_skip(part: str, name: str = "") -> Path:
    """The program `name` of a part, by default the one that is called as the part."""
    try:
        return program(part, name)
    except UserError as err:
        pytest.skip(str(err))


def ends_in_order(process: "subprocess.Popen[bytes]") -> bool:
    """Ask the process to end; one that does not within 20 s is killed, and False says so."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
