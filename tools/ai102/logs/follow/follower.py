"""Follows logs: each line masked, read into a document, put into the spool; positions saved behind it.

- A kill loses nothing: positions are saved after the lines are in the spool. It repeats nothing: the next start sees
  in the spool's newest file what went there after the positions were saved.
- A full spool, or a full disk, stops the reading: the logs stay where they are.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ai102.errors import UserError
from ai102.logs.document import put
from ai102.logs.envelope import Message
from ai102.logs.follow import positions
from ai102.logs.follow.files import Found, matching, opened, rotated
from ai102.logs.follow.positions import Position, Saved
from ai102.logs.follow.source import Source
from ai102.logs.follow.spool import Spool
from ai102.logs.origin import origin_of
from ai102.logs.parsing import NO_GOALS, document_from_line
from ai102.logs.rows import GoalsMs
from ai102.masking import Masker
from ai102.masking.logs import masked
from ai102.masking.stream import masked_line

LOOK_EVERY_S, SAVE_EVERY_S, SAY_EVERY_S = 1.0, 1.0, 60.0
# Whoever wrote to a file before it was renamed or deleted may have some seconds more.
LEFT_ALONE_S = 5.0
FORGET_S = 60.0
MOST_ABSENT = 1000
FULL = (errno.ENOSPC, errno.EDQUOT)


class Follower:
    """Call `turn` again and again; `close` at the end."""

    def __init__(
        self,
        patterns: Sequence[str],
        spool: Spool,
        masker: Masker,
        say: Callable[[str], None],
        goals_ms: GoalsMs = NO_GOALS,
    ) -> None:
        """Goes on where the spool's positions say. Raises UserError."""
        self._patterns, self._spool, self._masker, self._say = patterns, spool, masker, say
        self._goals_ms = goals_ms
        self._host = socket.gethostname()
        self._sources: dict[tuple[int, int], Source] = {}
        self._current: set[tuple[int, int]] = set()  # what the patterns name now
        saved = positions.load(spool.folder)
        self._known = list(saved.positions)
        self._seen_s = {Path(one.path): time.monotonic() for one in saved.positions}
        spool.open(saved.segment)
        self._skip_until = dict(spool.last_offsets)
        self._looked_at_s, self._saved_at_s, self._said_at_s = saved.saved_at_s, 0.0, -SAY_EVERY_S
        self._next_look_s = 0.0
        self._is_changed = True
        self._waiting = b""

    def turn(self) -> bool:
        """Read a piece of every file; whether there was anything."""
        now_s = time.monotonic()
        if self._waiting and not self._is_put():
            return False
        if now_s >= self._next_look_s:
            self._look()
            self._next_look_s = now_s + LOOK_EVERY_S
        has_read = False
        self._spool.measure()
        for source in list(self._sources.values()):
            if self._spool.is_full:
                self._complain(
                    f"the spool {self._spool.folder} is full: reading stops until a shipper has emptied some"
                )
                break
            has_read |= self._advance(source, now_s)
            if self._waiting:
                return False
        if self._is_changed and now_s - self._saved_at_s >= SAVE_EVERY_S:
            self._save()
        return has_read

    def close(self) -> None:
        self._save()
        for source in self._sources.values():
            source.close()

    def _look(self) -> None:
        """Open what is new, and what was renamed since the last look and not read to its end."""
        looked_at_s = time.time()
        found = matching(self._patterns)
        self._current = {one.key for one in found}
        new = {one.key: one for one in found if one.key not in self._sources}
        inodes = {position.inode for position in self._known}
        for path in self._changed_paths(found, [one.path for one in new.values()]):
            for written_at_s, older in rotated(path):
                # At the very first look what was rotated before is not ours.
                is_ours = older.key[1] in inodes or 0 < self._looked_at_s - LOOK_EVERY_S <= written_at_s
                if is_ours and older.key not in self._sources:
                    new.setdefault(older.key, older)
        are_open = [self._open(one) for one in new.values()]
        if all(are_open) or not self._looked_at_s:  # else the next look is for what was rotated since the one before
            self._looked_at_s = looked_at_s
        if new:
            self._save()  # an id must be on the disk before a line that bears it

    def _changed_paths(self, found: Sequence[Found], new: Sequence[Path]) -> list[Path]:
        """Where there is another file now, or for a minute none: what was there may have another name."""
        now_s = time.monotonic()
        self._seen_s.update((one.path, now_s) for one in found)
        self._seen_s = {path: seen_s for path, seen_s in self._seen_s.items() if now_s - seen_s < FORGET_S}
        return [*new, *(path for path, seen_s in self._seen_s.items() if seen_s < now_s)]

    def _open(self, found: Found) -> bool:
        """False where another file, or none, has its name by now: the next look finds it under its new one."""
        try:
            handle = opened(found.path)
        except PermissionError as err:
            raise UserError(f"{found.path}: {err.strerror}: run the masker as a user who may read the logs") from err
        if handle is None:
            return False
        facts = os.fstat(handle)
        if (facts.st_dev, facts.st_ino) != found.key:
            os.close(handle)
            return False
        # A device may have another number after a reboot.
        same = [position for position in self._known if position.inode == found.key[1] and _is_same(handle, position)]
        position = next((one for one in same if one.device == found.key[0]), None)
        position = position or next((one for one in same if one.head_bytes), None)
        # Of several with this inode the others were of files that are gone.
        self._known = [one for one in self._known if one != position and (one.device, one.inode) != found.key]
        # What is rotated keeps the name under which it was written.
        path = Path(position.path) if position else found.path
        source = Source(path, handle, origin_of(path, self._host), position)
        source.grew_at_s = time.monotonic()
        self._sources[source.key] = source
        return True

    def _advance(self, source: Source, now_s: float) -> bool:
        if source.is_other():
            self._put(source, source.last_words())
            if self._waiting:
                return False
            source.restart()
            self._save()
        before = source.read_bytes
        self._put(source, source.read())
        if source.read_bytes != before:
            source.grew_at_s = now_s
            return True
        if now_s - source.grew_at_s > LEFT_ALONE_S and source.key not in self._current:
            self._put(source, source.last_words())
            if not self._waiting:
                self._sources.pop(source.key).close()
                self._is_changed = True
        return False

    def _put(self, source: Source, messages: Iterable[Message]) -> None:
        last = self._skip_until.get(source.id, -1)
        lines = [self._line(source, message) for message in messages if message.offset > last]
        self._waiting += b"".join(lines)
        self._is_put()

    def _is_put(self) -> bool:
        """Whether the spool has taken what waits for it; not while the disk is full."""
        if not self._waiting:
            return True
        try:
            self._spool.append(self._waiting)
        except OSError as err:
            if err.errno not in FULL:
                raise
            self._complain(f"the disk of {self._spool.folder} is full: reading stops until there is space")
            return False
        self._waiting, self._is_changed = b"", True
        if self._spool.has_full_segment:
            self._save()
            self._spool.next_segment()
        return True

    def _line(self, source: Source, message: Message) -> bytes:
        text = masked_line(self._masker, message.text.rstrip(b"\r"))
        document = document_from_line(
            text.decode("utf-8", "replace"),
            origin=source.fields,
            read_at=datetime.now(UTC),
            written_at=message.written_at,
            mask=self._mask,
            goals_ms=self._goals_ms,
        )
        document["event"]["id"] = f"{source.id}-{message.offset}"
        document["log"]["offset"] = message.offset
        if message.stream:
            put(document, "labels.stream", message.stream)
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

    def _mask(self, text: str) -> str:
        return masked(self._masker, text)

    def _save(self) -> None:
        if self._waiting:  # the files were read further than the spool knows
            return
        self._spool.sync()
        kept = [source.position() for source in self._sources.values()]
        # A file that was there at the last end and is not found yet may still be mounted.
        kept += self._known[-MOST_ABSENT:]
        positions.save(self._spool.folder, Saved(tuple(kept), self._spool.number, self._looked_at_s))
        self._saved_at_s, self._is_changed = time.monotonic(), False

    def _complain(self, line: str) -> None:
        if time.monotonic() - self._said_at_s >= SAY_EVERY_S:
            self._said_at_s = time.monotonic()
            self._say(line)


def _is_same(handle: int, position: Position) -> bool:
    size = os.fstat(handle).st_size
    head = positions.head_of(handle, position.head_bytes)
    return size >= position.offset and head == (position.head_bytes, position.head)
