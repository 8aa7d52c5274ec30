"""A job: who wants what, when, and what became of it."""

from __future__ import annotations

import enum
import random
import time
from datetime import UTC, datetime
from typing import NamedTuple

from ai102.errors import UserError
from ai102.jobs.item import Item

_CHANCE = random.Random()


class State(enum.StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the model refused the input, and would again
    DEAD = "dead"  # given up after too many attempts; an operator may put it back
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # its time was over before it was begun

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job, unless an operator puts it back."""
        return self not in (State.QUEUED, State.RUNNING)


class Priority(enum.IntEnum):
    """A lower number is taken first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class NewJob(NamedTuple):
    """A job that was checked and not yet accepted."""

    id: str
    owner: str
    model: str
    item: Item
    key: str = ""  # the caller's Idempotency-Key; empty: none
    fingerprint: bytes = b""  # of the whole request, where there is a key
    priority: Priority = Priority.NORMAL
    not_after_s: float | None = None  # Unix time; not begun until then, it expires
    callback: str = ""
    traceparent: str = ""


class Job(NamedTuple):
    """A job as the ledger has it, without input and result. Times are Unix seconds."""

    id: str
    owner: str
    model: str
    state: State
    priority: Priority
    key: str
    accepted_s: float
    not_after_s: float | None
    ended_s: float | None
    kept_until_s: float | None
    attempts: int
    error: str


class Claimed(NamedTuple):
    """A job in the hands of one worker."""

    id: str
    model: str
    item: Item
    priority: Priority
    claim: int  # its number: a later one takes the job away from this worker
    attempts: int
    accepted_s: float
    published_s: float
    traceparent: str


class Ended(NamedTuple):
    """What became of a claimed job: an answer, or why there is none."""

    id: str
    claim: int
    state: State
    answer: Item | None = None
    error: str = ""


class JobsError(UserError):
    """The ledger or the queue could not do it for a reason outside this program; to try again may help."""


def new_id(now_s: float | None = None) -> str:
    """A UUID of version 7 (RFC 9562), which begins with its time in milliseconds. It is no secret."""
    milliseconds = int((time.time() if now_s is None else now_s) * 1000)
    chance = _CHANCE.getrandbits(74)
    number = milliseconds << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & ((1 << 62) - 1)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def moment(seconds: float) -> str:
    """A Unix time as RFC 3339 has it, in UTC and milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
