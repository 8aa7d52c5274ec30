"""How far each log was read: durable, so that a masker that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from ai102.artifact import write_bytes
from ai102.errors import UserError

FILE = "positions.json"
HEAD_BYTES = 256


class Position(NamedTuple):
    """`id`: of this content, and the first half of every `event.id`; new when the file is truncated or another file has
    its inode.

    `head` is a hash of the file's first `head_bytes`, by which the file is known again.
    """

    id: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head: str
    offset: int


class Saved(NamedTuple):
    """All positions; `segment` is the number that the spool's next segment must at least have."""

    positions: tuple[Position, ...] = ()
    segment: int = 1
    saved_at_s: float = 0.0


def load(folder: Path) -> Saved:
    """What was saved in the spool's folder. UserError for a file that is not ours or not whole."""
    file = folder / FILE
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        positions = tuple(Position(**row) for row in facts["positions"])
        return Saved(positions, int(facts["segment"]), float(facts["saved_at_s"]))
    except FileNotFoundError:
        return Saved()
    except (ValueError, KeyError, TypeError) as err:
        raise UserError(
            f"{file}: not the positions of a spool ({type(err).__name__}): move it away; every log is then read from "
            f"its start again, and its lines are in the index twice"
        ) from err


def save(folder: Path, saved: Saved) -> None:
    """Whole or not at all, and on the disk."""
    facts = saved._asdict() | {"positions": [position._asdict() for position in saved.positions]}
    write_bytes(folder / FILE, json.dumps(facts, indent=1).encode())


def new_id() -> str:
    return os.urandom(8).hex()


def head_of(handle: int, count: int) -> tuple[int, str]:
    """How many of the first `count` bytes of an open file there are, at most HEAD_BYTES, and their hash."""
    head = os.pread(handle, min(count, HEAD_BYTES), 0)
    return len(head), hashlib.sha256(head).hexdigest()[:16]
