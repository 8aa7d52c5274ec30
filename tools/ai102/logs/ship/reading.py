"""The spool as a shipper reads it: whole lines from its checkpoint on, and files removed once they are shipped."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import NamedTuple

from ai102.artifact import write_bytes
from ai102.errors import UserError
from ai102.logs.follow.spool import segments

CHECKPOINT = "shipped.json"


class Place(NamedTuple):
    """All lines before it are in the index."""

    segment: int
    offset: int


class Batch(NamedTuple):
    """Lines without their ends, and the place behind them."""

    lines: list[bytes]
    end: Place


class Reader:
    """One shipper at a time reads a spool; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        """UserError when there is no spool, another shipper has it, or its checkpoint is not ours."""
        if not folder.is_dir():
            raise UserError(f"--spool: {folder}: no such folder; `ai102 masking apply --follow` makes it")
        self._folder = folder
        self._lock = os.open(folder / "shipper.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(self._lock)
            raise UserError(f"--spool: another shipper reads {folder}: stop it first") from err
        self.place = _checkpoint(folder)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def next_batch(self, most_lines: int, most_bytes: int) -> Batch | None:
        """Up to so many lines from `place` on; None when there is nothing whole to read."""
        existing = segments(self._folder)
        for number, path in existing:
            if number < self.place.segment:
                continue
            begin = self.place.offset if number == self.place.segment else 0
            lines, end = _lines(path, begin, most_lines, most_bytes)
            if lines:
                return Batch(lines, Place(number, end))
        return None

    def shipped(self, end: Place) -> None:
        """Keep `end` as the checkpoint, and remove the files before it."""
        self.place = end
        write_bytes(self._folder / CHECKPOINT, json.dumps(end._asdict()).encode())
        for number, path in segments(self._folder):
            if number < end.segment:
                path.unlink()

    def left_bytes(self) -> int:
        """How much is not shipped."""
        total = 0
        for number, path in segments(self._folder):
            if number >= self.place.segment:
                total += path.stat().st_size - (self.place.offset if number == self.place.segment else 0)
        return total


def _lines(path: Path, begin: int, most_lines: int, most_bytes: int) -> tuple[list[bytes], int]:
    with path.open("rb") as file:
        file.seek(begin)
        piece = file.read(most_bytes)
        if b"\n" not in piece:
            piece += file.readline()  # one line that is longer
    lines = piece.split(b"\n")[:-1][:most_lines]
    return lines, begin + sum(len(line) + 1 for line in lines)


def _checkpoint(folder: Path) -> Place:
    file = folder / CHECKPOINT
    try:
        place = Place(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Place(0, 0)
    except (ValueError, TypeError) as err:
        raise UserError(
            f"{file}: not a shipper's checkpoint: remove it; what is in the spool is then sent again"
        ) from err
    sizes = {number: path.stat().st_size for number, path in segments(folder)}
    if place.offset <= sizes.get(place.segment, -1):
        return place
    # Gone with all that was in it; or the spool is another one.
    later = [number for number in sizes if number > place.segment]
    return Place(min(later), 0) if later else Place(0, 0)
