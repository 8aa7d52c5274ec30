"""What the tests of the client share: the four ways to ask, and the check that nothing stays behind."""

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client.ways import WAYS, Way
from tests.e2e.conftest import start_server

__all__ = ["start_server"]

SETTLE_S = 10.0


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


def regions(pid: int | None = None) -> set[str]:
    """The shared memory of the clients of this process, or of process `pid`."""
    return {path.name for path in Path("/dev/shm").glob(f"ai102_client_{pid or os.getpid()}_*")}


def sockets() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def threads() -> set[str]:
    return {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}


@pytest.fixture
def nothing_leaks(way: Way) -> Iterator[None]:
    """Fails when a region, a socket or a thread of the test's is still there afterwards."""
    way.warm_up()  # what the libraries open once and for all is no leak
    before = regions(), sockets(), threads()
    yield
    wait_until(lambda: _is_as_before(before), lambda: f"left behind: {_more(before)}")


def _more(before: tuple[set[str], ...]) -> list[set[str]]:
    return [now - then for now, then in zip((regions(), sockets(), threads()), before, strict=True) if now - then]


def _is_as_before(before: tuple[set[str], ...]) -> bool:
    if not _more(before):
        return True
    gc.collect()  # gRPC keeps a connection as long as an object refers to a failed call of it
    return not _more(before)


def wait_until(holds: Callable[[], bool], why: Callable[[], str] = lambda: "it never came true") -> None:
    ends = time.monotonic() + SETTLE_S
    while not holds():
        assert time.monotonic() < ends, why()
        time.sleep(0.01)
