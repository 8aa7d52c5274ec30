"""Which of the jobs in hand go to Triton together."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ai102.jobs.job import Claimed


class _Group(NamedTuple):
    model: str
    forms: str


class Batches:
    """Jobs by model and form, the oldest first. One that was tried before is asked alone: it may have harmed others."""

    def __init__(self, size_of: Callable[[str], int], max_bytes: int) -> None:
        """`size_of` a model: how many items it may be asked for at the moment. `max_bytes`: of the items of a call, if
        there is more than one.
        """
        self._size_of = size_of
        self._max_bytes = max_bytes
        self._groups: dict[_Group, deque[Claimed]] = {}
        self._held: Counter[_Group] = Counter()  # bytes of their items
        self._alone: deque[Claimed] = deque()

    def add(self, claimed: Iterable[Claimed]) -> None:
        for job in claimed:
            if job.attempts > 1:
                self._alone.append(job)
            else:
                group = _Group(job.model, job.item.forms)
                self._groups.setdefault(group, deque()).append(job)
                self._held[group] += len(job.item.data)

    def take(self, *, is_last: bool) -> Sequence[Claimed]:
        """The next jobs to ask for together; none if there is no full batch and more may come (`is_last` is False)."""
        group = next((group for group in self._groups if self._is_full(group)), None)
        if group is None and self._alone:
            return [self._alone.popleft()]
        if group is None and is_last and self._groups:
            group = next(iter(self._groups))
        if group is None:
            return []
        jobs, size = self._groups.pop(group), self._size(group)
        taken = [jobs.popleft()]
        taken_bytes = len(taken[0].item.data)
        while jobs and len(taken) < size and taken_bytes + len(jobs[0].item.data) <= self._max_bytes:
            taken.append(jobs.popleft())
            taken_bytes += len(taken[-1].item.data)
        self._held[group] -= taken_bytes
        if jobs:
            self._groups[group] = jobs  # behind the others
        else:
            del self._held[group]
        return taken

    def _is_full(self, group: _Group) -> bool:
        return len(self._groups[group]) >= self._size(group) or self._held[group] >= self._max_bytes

    def _size(self, group: _Group) -> int:
        return max(1, self._size_of(group.model))
