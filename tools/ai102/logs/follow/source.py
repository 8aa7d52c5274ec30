"""One log file while it is followed: through rotation by rename, truncation and deletion, whole lines only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ai102.logs.envelope import LONGEST_LINE_BYTES, Message, Unwrapper, envelope_of
from ai102.logs.follow.positions import HEAD_BYTES, Position, head_of, new_id

PIECE_BYTES = 1 << 18
# A physical line: Docker escapes a part of 16 KiB to at most six times that, plain files have the whole line.
FIRST_LINE_BYTES = 1 << 17


class Source:
    """An open log. `fields` hold for all its lines; `path` is where it was found, by now perhaps another file's."""

    def __init__(self, path: Path, handle: int, fields: Mapping[str, Any], position: Position | None = None) -> None:
        facts = os.fstat(handle)
        self.path, self.fields = path, fields
        self.device, self.inode = facts.st_dev, facts.st_ino
        self._handle = handle
        self.id = position.id if position else new_id()
        self._unwrapper: Unwrapper | None = None
        self._next = position.offset if position else 0  # where the bytes not read yet begin
        self._unfinished = bytearray()
        self._skipped = 0  # bytes of a line that is too long, no longer held
        self._head = head_of(handle, self._next)
        self.grew_at_s = 0.0

    @property
    def key(self) -> tuple[int, int]:
        return self.device, self.inode

    def position(self) -> Position:
        """Where to go on so that no line is lost."""
        begin = self._line_begin
        offset = self._unwrapper.earliest(begin) if self._unwrapper else begin
        return Position(self.id, str(self.path), self.device, self.inode, *self._head, offset)

    @property
    def _line_begin(self) -> int:
        return self._next - len(self._unfinished) - self._skipped

    def is_other(self) -> bool:
        """Whether the file was truncated, or written anew, since it was read."""
        size = os.fstat(self._handle).st_size
        return size < self._next or head_of(self._handle, self._head[0]) != self._head

    def restart(self) -> None:
        """Read it from its start, under a new id."""
        self.id = new_id()
        self._unwrapper, self._next, self._head = None, 0, head_of(self._handle, 0)
        self._unfinished.clear()
        self._skipped = 0

    def read(self) -> list[Message]:
        """The lines that the next piece of the file completes; [] also when there is nothing new."""
        piece = os.pread(self._handle, PIECE_BYTES, self._next)
        if not piece:
            return []
        begin = self._line_begin
        self._next += len(piece)
        messages = list(self._messages(piece, begin))
        if self._head[0] < HEAD_BYTES:
            self._head = head_of(self._handle, self._line_begin)
        return messages

    def last_words(self) -> list[Message]:
        """Of a file that nobody writes any more: what is behind its last end of line, and lines without a last part."""
        messages = list(self._messages(b"\n", self._line_begin)) if self._unfinished or self._skipped else []
        return [*messages, *(self._unwrapper.abandoned(self._next) if self._unwrapper else [])]

    @property
    def read_bytes(self) -> int:
        """How much of the file was read, unfinished lines included."""
        return self._next

    def close(self) -> None:
        os.close(self._handle)

    def _messages(self, piece: bytes, offset: int) -> Iterator[Message]:
        """`offset`: where the line that the piece goes on with begins."""
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = bytes(self._unfinished) + line
            length = self._skipped + len(whole)
            if self._skipped:
                whole = b"[a line of %d bytes left out: more than %d]" % (length, 6 * LONGEST_LINE_BYTES)
            self._unfinished.clear()
            self._skipped = 0
            if message := self._unwrapped(whole.removesuffix(b"\r"), offset):
                yield message
            offset += length + 1
        self._unfinished += rest
        if self._skipped or len(self._unfinished) > 6 * LONGEST_LINE_BYTES:
            self._skipped += len(self._unfinished)
            self._unfinished.clear()

    def _unwrapped(self, line: bytes, offset: int) -> Message | None:
        if self._unwrapper is None:
            first = line if offset == 0 else os.pread(self._handle, FIRST_LINE_BYTES, 0).partition(b"\n")[0]
            self._unwrapper = Unwrapper(envelope_of(first))
        return self._unwrapper.message(line, offset) if line else None
