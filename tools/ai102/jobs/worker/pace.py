"""How much jobs may ask of Triton while direct calls are about, which always go first.

Triton begins what comes first and does not interrupt it, so a direct call waits at most for the job call that is being
computed. While there are direct calls, job calls are therefore short, and leave pauses between them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from ai102.client import AsyncClient, InferenceError


@dataclass(frozen=True)
class Manners:
    """What jobs leave to direct calls."""

    slice_s: float = 0.001  # of a job call while there are direct calls
    share: float = 0.2  # of the time in which a job call may be computed then
    # Direct calls that come now and then count as always there: none of them is to meet a full batch.
    remembered_s: float = 5.0
    look_s: float = 0.1


class Pace:
    """Belongs to one event loop. Knows of direct calls by Triton's own counts, less the calls made here."""

    def __init__(
        self, client: AsyncClient, steps_of: Mapping[str, Set[str]], manners: Manners, clock: Callable[[], float]
    ) -> None:
        """`steps_of`: the models that Triton asks itself when it is asked for a model, by that model."""
        self._client = client
        self._steps_of = steps_of
        self._manners = manners
        self._clock = clock
        self._own: Counter[str] = Counter()  # calls that ended, by model
        self._own_before: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._counts: dict[str, int] = {}
        self._used_at: dict[str, float] = {}
        self._seen_at = float("-inf")
        self._sizes: dict[str, int] = {}

    @property
    def is_polite(self) -> bool:
        """Whether there were direct calls a moment ago."""
        return self._clock() - self._seen_at < self._manners.remembered_s

    def largest(self, model: str, size: int) -> int:
        """How many items a job call to the model may have; `size` is the model's own limit."""
        return min(size, self._sizes.get(model, 1)) if self.is_polite else size

    def begins(self, model: str) -> None:
        self._under_way[model] += 1
        self._used_at[model] = self._clock()

    def ended(self, model: str, took_s: float) -> float:
        """After a job call: learn from how long it took. The pause to make before the next, in seconds."""
        self._under_way[model] -= 1
        self._own[model] += 1
        self._used_at[model] = self._clock()
        if not self.is_polite:
            return 0.0
        size = self._sizes.get(model, 1)
        if took_s > self._manners.slice_s:
            self._sizes[model] = max(1, size // 2)
        elif took_s < self._manners.slice_s / 2:
            self._sizes[model] = size * 2
        return took_s * (1 / self._manners.share - 1)

    async def look(self) -> None:
        """Ask Triton for its counts again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._manners.look_s)
            try:
                rows = await self._client.statistics()
            except InferenceError:
                self._counts.clear()  # counts begin anew with a server
                continue
            self.counted({row["name"]: _requests(row) for row in rows})

    def counted(self, counts: Mapping[str, int]) -> None:
        """Take over Triton's counts of requests by model."""
        now = self._clock()
        own, self._own_before = self._own - self._own_before, self._own.copy()
        used = {model for model, at in self._used_at.items() if now - at < 2 * self._manners.look_s}
        inner = {step for model in used for step in self._steps_of.get(model, ())}
        for model, count in counts.items():
            more = count - self._counts.get(model, count)
            # A call that ended in Triton may not have ended here.
            if model not in inner and more > own[model] + self._under_way[model]:
                self._seen_at = now
        self._counts = dict(counts)


def _requests(row: Mapping[str, Any]) -> int:
    stats = row.get("inference_stats", {})
    return sum(int(stats.get(kind, {}).get("count", 0)) for kind in ("success", "fail"))
