"""What a judgement has asked so far, and what came back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

from ai102.judging.subject import Subject, Target

# first: the first call of a pipeline; alone: one sample; batch: several in one call; crowd: sent at once with others;
# form: a sample in another file format or length; again: a sample that was asked before; bad: must be refused.
Purpose = Literal["first", "alone", "batch", "crowd", "form", "again", "bad"]


class Reply(NamedTuple):
    """An answer, or how the call failed."""

    outputs: Mapping[str, NDArray[Any]] | None
    milliseconds: float
    error: str = ""  # one line
    kind: str = ""  # the name of the error's class

    @property
    def is_refusal(self) -> bool:
        """The server refused the request as a bad one."""
        return self.kind in ("BadRequestError", "TooLargeError")


class Call(NamedTuple):
    """One request: samples by their position in the subject; -1 for what is no sample."""

    target: Target
    purpose: Purpose
    positions: tuple[int, ...]
    form: str = ""
    burst: int = 0  # calls that are sent at once share a number; what delays one delays all of them


class Pair(NamedTuple):
    """The same request to the canary and to the version in service, one after the other."""

    call: Call
    canary: Reply
    primary: Reply | None


class MemoryReading(NamedTuple):
    calls: int  # to the canary, before
    bytes: float


@dataclass
class Record:
    """All pairs about one network, in the order of their calls."""

    subject: Subject
    pairs: list[Pair] = field(default_factory=list)
    memory: list[MemoryReading] = field(default_factory=list)
    asked: int = 0  # samples, by every pipeline that is asked about them
    is_complete: bool = False
    fp32: Mapping[int, NDArray[Any]] = field(default_factory=dict)  # the canary's own FP32 outputs by sample
    notes: list[str] = field(default_factory=list)
    # What answers.of_pair read from a pair, by its id; the pair beside it keeps the id its own.
    read: dict[int, tuple[Pair, Sequence[Any]]] = field(default_factory=dict, repr=False)

    @property
    def has_primary(self) -> bool:
        return any(pair.primary is not None for pair in self.pairs)

    def of(self, target: Target | None = None, *purposes: Purpose) -> Iterator[Pair]:
        """The pairs of a pipeline, None: of all, with one of the purposes, none: with any."""
        for pair in self.pairs:
            if (target is None or pair.call.target == target) and (not purposes or pair.call.purpose in purposes):
                yield pair
