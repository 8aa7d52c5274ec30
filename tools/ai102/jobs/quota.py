"""How many jobs may wait, in all and of one owner, and whether the disk has room for more."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True)
class Bounds:
    """Of jobs that wait."""

    max_waiting: int = 5_000_000
    max_waiting_per_owner: int = 2_000_000
    min_free_bytes: int = 1 << 30  # of the disk with the ledger


class Full(NamedTuple):
    """Why no more jobs are taken."""

    why: str


class Quota:
    """Counted by the ledger now and then, and by what was accepted here since."""

    def __init__(self, bounds: Bounds, folder: Path | None) -> None:
        """`folder`: where the ledger is, None where that is another machine's."""
        self._bounds = bounds
        self._folder = folder
        self._waiting: Counter[str] = Counter()
        self._since: Counter[str] = Counter()  # taken since the ledger began to count
        self._all = 0
        self._has_disk = True

    def begin_count(self) -> None:
        """The ledger is about to count: it may or may not see what is taken from now on, which counts twice then."""
        self._since = Counter()

    def counted(self, waiting: Mapping[str, int]) -> None:
        """Take over the ledger's count."""
        self._waiting = Counter(waiting) + self._since
        self._all = self._waiting.total()
        if self._folder is not None:
            disk = os.statvfs(self._folder)
            self._has_disk = disk.f_bavail * disk.f_frsize >= self._bounds.min_free_bytes

    def take(self, owner: str, count: int) -> Full | None:
        """Room for `count` more jobs of `owner`, or why there is none."""
        if not self._has_disk:
            return Full("The disk is nearly full: hand in more when results were removed.")
        if self._all + count > self._bounds.max_waiting:
            return Full(f"{self._all} jobs are waiting: hand in more when some are done.")
        if self._waiting[owner] + count > self._bounds.max_waiting_per_owner:
            return Full(f"{self._waiting[owner]} of your jobs are waiting: hand in more when some are done.")
        self._waiting[owner] += count
        self._since[owner] += count
        self._all += count
        return None
