"""Private temporary folders: removed at the end, or at the next start when the process was killed; and their space."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai102.errors import UserError
from ai102_runtime.seal.memory import IN_MEMORY, filesystem_holding

SHARED_MEMORY = Path("/dev/shm")
BLOCK_BYTES = 4096


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """An empty folder of mode 0700 in `parent`, removed at the end with all that is in it.

    Those of processes that were killed before they could are removed first: their lock is free.
    """
    _remove_abandoned(parent, prefix)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            break
        os.close(lock)  # another process removed it before it was locked
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def refuse_too_little_space(parent: Path, content_bytes: int, files: int, what: str) -> None:
    """Raise UserError when `parent` has no space for so many bytes in so many files and folders."""
    space = os.statvfs(parent)
    free, needed = space.f_bavail * space.f_frsize, content_bytes + 2 * files * BLOCK_BYTES
    if free < needed:
        raise UserError(
            f"{parent}: {free / 1e6:.0f} MB free, {what} needs {needed / 1e6:.0f} MB: free some space there"
        )


def refuse_disk(folder: Path) -> None:
    """Raise UserError unless `folder` is in memory-backed storage."""
    kind = filesystem_holding(folder)
    if kind not in IN_MEMORY:
        raise UserError(f"{folder} is on {kind}, not in memory: mount a tmpfs there (docker: --shm-size, --tmpfs)")


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # held by a living process, another user's, or gone
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid == os.geteuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
