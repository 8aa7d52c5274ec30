"""How many jobs may wait, in all and of one owner, and whether the disk has room for more."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bounds:
    """Of jobs that wait."""

    max_waiting: int = 5_000_000
    max_waiting_per_owner: int = 2_000_000
    min_free_bytes: int = 1 << 30  # of the disk with the ledger


class FullError(Exception):
    """No more jobs are taken at the moment, and why."""


class Quota:
    """What the ledger counted last, and what was taken since. It may count too many for a moment, and never too few.

    Belongs to one event loop.
    """

    def __init__(self, bounds: Bounds, folder: Path | None) -> None:
        """`folder`: where the ledger is, None where that is another machine's."""
        self._bounds = bounds
        self._folder = folder
        self._waiting: Counter[str] = Counter()
        self._unwritten: Counter[str] = Counter()
        self._since: Counter[str] = Counter()
        self._has_disk = True

    def begin_count(self) -> None:
        """The ledger is about to count. It may see what is not written yet, or is taken from now on, or may not."""
        self._since = self._unwritten.copy()

    def counted(self, waiting: Mapping[str, int]) -> None:
        """Take over the ledger's count."""
        self._waiting = Counter(waiting) + self._since
        if self._folder is not None:
            self._has_disk = shutil.disk_usage(self._folder).free >= self._bounds.min_free_bytes

    @contextmanager
    def taken(self, owner: str, count: int) -> Iterator[None]:
        """Room for `count` more jobs of `owner`, which the block writes. Raises FullError when there is none."""
        self._check(owner, count)
        for counter in (self._waiting, self._since, self._unwritten):
            counter[owner] += count
        try:
            yield
        finally:
            self._unwritten[owner] -= count

    def _check(self, owner: str, count: int) -> None:
        if not self._has_disk:
            raise FullError("The disk is nearly full: hand in more when results were removed.")
        total = self._waiting.total()
        if total + count > self._bounds.max_waiting:
            raise FullError(f"{total} jobs are waiting: hand in more when some are done.")
        if self._waiting[owner] + count > self._bounds.max_waiting_per_owner:
            raise FullError(f"{self._waiting[owner]} of your jobs are waiting: hand in more when some are done.")
