"""Which of the jobs in hand go to Triton together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ai102.jobs.job import Claimed


class _Group(NamedTuple):
    model: str
    forms: str


class Batches:
    """Jobs by model and form, the oldest first. One that was tried before is asked alone: it may have harmed others."""

    def __init__(self, size_of: Callable[[str], int]) -> None:
        """`size_of` a model: how many items it may be asked for at the moment."""
        self._size_of = size_of
        self._groups: dict[_Group, deque[Claimed]] = {}
        self._alone: deque[Claimed] = deque()
        self.count = 0

    def add(self, claimed: Iterable[Claimed]) -> None:
        for job in claimed:
            self.count += 1
            if job.attempts > 1:
                self._alone.append(job)
            else:
                self._groups.setdefault(_Group(job.model, job.item.forms), deque()).append(job)

    def take(self, *, is_last: bool) -> Sequence[Claimed]:
        """The next jobs to ask for together; none if there is no full batch and more may come (`is_last` is False)."""
        group = next((group for group, jobs in self._groups.items() if len(jobs) >= self._size(group)), None)
        if group is None and self._alone:
            self.count -= 1
            return [self._alone.popleft()]
        if group is None and is_last and self._groups:
            group = next(iter(self._groups))
        if group is None:
            return []
        jobs = self._groups[group]
        taken = [jobs.popleft() for _ in range(min(len(jobs), self._size(group)))]
        # A group that was served goes behind the others.
        del self._groups[group]
        if jobs:
            self._groups[group] = jobs
        self.count -= len(taken)
        return taken

    def _size(self, group: _Group) -> int:
        return max(1, self._size_of(group.model))
