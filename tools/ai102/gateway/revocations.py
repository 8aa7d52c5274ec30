"""What one issuer has revoked, in a journal that each thread of a proxy reads on from where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ai102.artifact import write_text
from ai102.gateway.feed.jwks import KINDS, Revocation
from ai102.gateway.policy import Issuer

FOLDER = "revoked"  # beside state.json, which names the file to read
# A journal with more lines than twice what stands, and these, is written anew.
SPARE_LINES = 10_000
TIDY_EVERY_S = 60.0


class Journal:
    """A file that only grows, one line for each revocation: KIND ENDS NOT_BEFORE VALUE.

    It begins anew under another name when most of it is over; that file then holds all that stands. Lines go into the
    file of before as well, for readers that have not changed over yet. One thread may use it.
    """

    def __init__(self, folder: Path, issuer: Issuer, clock: Callable[[], float] = time.time) -> None:
        """`folder` may hold the journal of a run before, which goes on; nothing is written yet."""
        self._folder = folder
        self._clock = clock
        self._stem = hashlib.sha256(f"{issuer.issuer}\n{issuer.revoked}".encode()).hexdigest()[:16]
        self._files = self._known_files()[-1:]
        self._standing = dict(_rows_of(self._files[-1])) if self._files else {}
        self._lines = len(self._standing)
        self._tidy_at_s = -math.inf
        # Its last line may be cut off.
        self._must_begin_anew = True

    @property
    def name(self) -> str:
        """The file to read; "" when there is none yet."""
        return self._files[-1].name if self._files else ""

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Take them in. Raises OSError when they cannot be written: then they are to be added again."""
        news: dict[tuple[str, str], tuple[int, int]] = {}
        for kind, value, ends_s, not_before_s in revocations:
            ends_before_s, from_before_s = self._standing.get((kind, value), (0, 0))
            times = max(ends_s, ends_before_s), max(not_before_s, from_before_s)
            if times != (ends_before_s, from_before_s):
                news[kind, value] = times
        self._tidy()
        is_too_long = self._lines > 2 * len(self._standing) + SPARE_LINES
        if self._must_begin_anew or is_too_long or not self._files[-1].exists():
            self._begin_anew(self._standing | news)
        elif news:
            self._append(news)
        self._standing |= news

    def _append(self, news: dict[tuple[str, str], tuple[int, int]]) -> None:
        text = _text_of(news).encode()
        try:
            with contextlib.suppress(FileNotFoundError):
                for file in self._files[:-1]:
                    _append(file, text)
            _append(self._files[-1], text)
        except OSError:
            self._must_begin_anew = True  # a line may be cut off in the middle
            raise
        self._lines += len(news)

    def _begin_anew(self, rows: dict[tuple[str, str], tuple[int, int]]) -> None:
        number = max(time.time_ns(), self._number_of(self._files[-1]) + 1 if self._files else 0)
        file = self._folder / f"{self._stem}.{number}.log"
        write_text(file, _text_of(rows))
        file.chmod(0o644)  # the proxy may run as another user
        self._files = [*self._files[-1:], file]
        self._lines, self._must_begin_anew = len(rows), False
        for other in self._known_files():
            if self._number_of(other) < self._number_of(self._files[0]):
                other.unlink(missing_ok=True)

    def _tidy(self) -> None:
        now_s = self._clock()
        if abs(now_s - self._tidy_at_s) >= TIDY_EVERY_S:
            self._tidy_at_s = now_s
            self._standing = {name: times for name, times in self._standing.items() if times[0] > now_s}

    def _known_files(self) -> list[Path]:
        """From the eldest to the newest."""
        files = [file for file in self._folder.glob(f"{self._stem}.*.log") if file.name.split(".")[1].isdecimal()]
        return sorted(files, key=self._number_of)

    def _number_of(self, file: Path) -> int:
        return int(file.name.split(".")[1])


def _text_of(rows: dict[tuple[str, str], tuple[int, int]]) -> str:
    return "".join(f"{kind} {ends} {not_before} {value}\n" for (kind, value), (ends, not_before) in rows.items())


def _rows_of(file: Path) -> Iterable[tuple[tuple[str, str], tuple[int, int]]]:
    """Of the lines that are whole."""
    for line in file.read_text(encoding="ascii", errors="replace").splitlines(keepends=True):
        kind, *numbers, value = line.rstrip("\n").split(" ") if line.count(" ") == 3 else ("", "")
        if line.endswith("\n") and kind in KINDS and all(number.isdecimal() for number in numbers):
            yield (kind, value), (int(numbers[0]), int(numbers[1]))


def _append(file: Path, text: bytes) -> None:
    """In one write, so that no reader sees the half of it; FileNotFoundError when the file is gone."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        written = os.write(handle, text)
        if written < len(text):
            raise OSError(f"{file}: {written} of {len(text)} bytes written")
    finally:
        os.close(handle)
