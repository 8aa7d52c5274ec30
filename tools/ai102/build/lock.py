"""One build at a time in a workspace: whoever comes second waits, and says so."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ai102 import artifact
from ai102.build.workspace import Workspace, root_of

# Where a build writes, and so where a killed one leaves temporary folders; sets of samples may be large and are not.
PLACES = (
    ".", "build/*", "build/*/*", "build/*/withdrawn/*", "calibration/engines", "calibration/ranges",
    "calibration/recipes", "calibration/reports", "model_repository", "model_repository/*", "model_repository/*/*",
    "model_repository/*/*/*",
)  # fmt: skip
# Folders whose lock this thread holds: a build is made of builds of single steps.
_held = threading.local()


@contextmanager
def opened(contract_file: Path, say: Callable[[str], None], networks: Collection[str] = ()) -> Iterator[Workspace]:
    """The workspace of a contract for a command that writes: as it is once no other command writes there.

    Raises UserError when the contract cannot be read, or has no such network.
    """
    before = Workspace.of(contract_file)  # a mistake is said at once, and leaves no folder behind
    for name in networks:
        before.network(name)
    with building(root_of(contract_file), say):
        yield Workspace.of(contract_file)


@contextmanager
def building(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """No other process or thread builds below `root` or edits its models.toml meanwhile.

    Waits for one that does, and says so by `say`. Temporary folders of builds that were killed are removed first.
    The lock is on the folder `root`/build and ends with the process.
    """
    folder = (root / "build").absolute()
    held: set[Path] = _held.__dict__.setdefault("folders", set())
    if folder in held:
        yield
        return
    handle = _locked(folder, say)
    held.add(folder)
    try:
        artifact.sweep(root, PLACES)
        yield
    finally:
        held.discard(folder)
        os.close(handle)


def _locked(folder: Path, say: Callable[[str], None]) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build in {folder.parent}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.is_dir() and os.path.samestat(folder.stat(), os.fstat(handle)):
            return handle
        os.close(handle)  # it was removed while we waited, as `make clean` does
