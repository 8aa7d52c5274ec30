"""The spool: a folder of numbered files of masked documents, one a line; shippers read them and nothing else.

Only whole lines are in it once it is open. A reader deletes a file when it has all of it, except the newest. When the
spool holds `most_bytes`, nothing is added until files were deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from ai102.errors import UserError
from ai102_runtime.seal.private import NotPrivateError, private_folder

NAME = re.compile(r"masked-(\d{12})\.jsonl")
SEGMENT_BYTES = 8 << 20


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Number and path of each file, the oldest first."""
    return sorted((int(match[1]), path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name)))


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"masked-{number:012d}.jsonl"


class Spool:
    """What the masker writes; one process at a time has it."""

    def __init__(self, folder: Path, most_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """UserError when another process has it, or others may read it."""
        try:
            self.folder = private_folder(folder)
        except NotPrivateError as err:
            raise UserError(f"--spool: {err}") from err
        # The newest file is never removed: it must not fill the spool alone.
        self._most_bytes, self._segment_bytes = most_bytes, min(segment_bytes, most_bytes // 4)
        self._lock = os.open(folder / "masker.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(self._lock)
            raise UserError(f"--spool: another masker writes to {folder}: stop it, or name another folder") from err
        self._handle = -1
        self.number = 0
        self._size = self._held = 0
        self.last_offsets: dict[str, int] = {}

    def open(self, at_least: int) -> None:
        """Go on with the newest file, without a half line that a kill left; `last_offsets`: by id, what it holds."""
        existing = segments(self.folder)
        self.number = max(existing[-1][0] if existing else 0, at_least)
        self._open_segment()
        content = os.pread(self._handle, self._size, 0)
        whole = content.rfind(b"\n") + 1
        if whole < self._size:
            os.ftruncate(self._handle, whole)
            self._size = whole
        try:
            for line in content[:whole].split(b"\n")[:-1]:
                event, log = (json.loads(line)[key] for key in ("event", "log"))
                self.last_offsets[event["id"].partition("-")[0]] = log["offset"]
        except (ValueError, KeyError, TypeError) as err:
            raise UserError(
                f"{segment_path(self.folder, self.number)}: not what a masker writes: move it out of the spool"
            ) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        os.close(self._lock)

    @property
    def is_full(self) -> bool:
        """By what was measured last, and what was added since."""
        return self._held >= self._most_bytes

    @property
    def has_full_segment(self) -> bool:
        return self._size >= self._segment_bytes

    def measure(self) -> None:
        self._held = 0
        for _, path in segments(self.folder):
            with contextlib.suppress(FileNotFoundError):  # a shipper deleted it meanwhile
                self._held += path.stat().st_size

    def append(self, lines: bytes) -> None:
        """All of it or nothing: OSError, such as for a full disk, leaves the file as it was."""
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(lines)
        self._held += len(lines)

    def sync(self) -> None:
        """On the disk: only then may a position say that the lines were read."""
        os.fsync(self._handle)

    def next_segment(self) -> None:
        """Begin another file; the positions must be saved before."""
        os.close(self._handle)
        self.number += 1
        self._open_segment()

    def _open_segment(self) -> None:
        path = segment_path(self.folder, self.number)
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._size = os.fstat(self._handle).st_size
