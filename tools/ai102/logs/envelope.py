"""What container runtimes put around a line: taken off, and lines that they wrote in parts put together.

- Docker's json-file: {"log":"...\\n","stream":"stdout","time":"..."}; a part that is not the last has no "\\n".
- CRI (containerd, Kubernetes): `TIME STREAM P|F TEXT`; P marks a part that is not the last.

A secret may lie across two parts, so nothing is masked before the line is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from ai102.logs.document import moment

Envelope = Literal["plain", "docker", "cri"]
CRI = re.compile(
    rb"(?P<time>\d{4}-\d\d-\d\dT\S{8,30}) (?P<stream>stdout|stderr) (?P<tag>[PF])(?::\S*)? (?P<text>.*)", re.DOTALL
)
LONGEST_LINE_BYTES = 1 << 20


class Message(NamedTuple):
    """A whole line without its end. `offset`: where the physical line that completes it begins in its file."""

    text: bytes
    offset: int
    written_at: datetime | None
    stream: str


def envelope_of(first_line: bytes) -> Envelope:
    """A file has one form throughout: that of its first line."""
    if _docker_part(first_line) is not None:
        return "docker"
    return "cri" if _cri_part(first_line) is not None else "plain"


class _Part(NamedTuple):
    text: bytes
    is_last: bool
    written_at: datetime | None
    stream: str


class _Begun(NamedTuple):
    """The parts of a line so far."""

    parts: list[bytes]
    begin: int  # where the first of them begins in the file


class Unwrapper:
    """For one file, from any place in it where no line had begun."""

    def __init__(self, envelope: Envelope) -> None:
        self._read = {"docker": _docker_part, "cri": _cri_part, "plain": None}[envelope]
        self._begun: dict[str, _Begun] = {}

    def earliest(self, end: int) -> int:
        """Where to read again so that no line is lost: `end`, or where the first line that is not whole begins."""
        return min((begun.begin for begun in self._begun.values()), default=end)

    def message(self, line: bytes, offset: int) -> Message | None:
        """`line` is without its end. None when it is a part of a line that goes on."""
        part = self._read(line) if self._read else None
        if part is None:  # also a line in a container's log that the runtime did not write whole, such as after a crash
            return Message(shortened(line), offset, None, "")
        begun = self._begun.setdefault(part.stream, _Begun([], offset))
        begun.parts.append(part.text)
        if not part.is_last and sum(map(len, begun.parts)) <= LONGEST_LINE_BYTES:
            return None
        del self._begun[part.stream]
        return Message(shortened(b"".join(begun.parts)), offset, part.written_at, part.stream)

    def abandoned(self, offset: int) -> Iterator[Message]:
        """The lines whose last part never came; each needs an offset of its own."""
        for number, (stream, begun) in enumerate(self._begun.items()):
            yield Message(shortened(b"".join(begun.parts)), offset + number, None, stream)
        self._begun.clear()


def shortened(line: bytes) -> bytes:
    """A line that is too long becomes one that says so: cut anywhere, half a secret might stay unmasked."""
    if len(line) <= LONGEST_LINE_BYTES:
        return line
    return b"[a line of %d bytes left out: more than %d]" % (len(line), LONGEST_LINE_BYTES)


def _docker_part(line: bytes) -> _Part | None:
    if not line.startswith(b'{"log":'):
        return None
    try:
        row = json.loads(line)
        text, stream, time = row["log"], row["stream"], row["time"]
        whole = text.removesuffix("\n")
        return _Part(whole.encode("utf-8", "surrogatepass"), whole != text, moment(time), str(stream))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None


def _cri_part(line: bytes) -> _Part | None:
    match = CRI.fullmatch(line)
    if match is None:
        return None
    return _Part(match["text"], match["tag"] == b"F", moment(match["time"].decode()), match["stream"].decode())
