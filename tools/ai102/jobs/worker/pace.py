"""How much jobs may ask of Triton while direct calls are about, which always go first.

Triton begins what comes first and does not interrupt it, so a direct call waits at most for the job call that is being
computed. While there are direct calls, job calls are therefore short, and leave pauses between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ai102.jobs.worker.direct import DirectCalls


@dataclass(frozen=True)
class Manners:
    """What jobs leave to direct calls."""

    slice_s: float = 0.001  # of a job call while there are direct calls
    share: float = 0.2  # of the time in which a job call may be computed then
    # Direct calls that come now and then count as always there: none of them is to meet a full batch.
    remembered_s: float = 5.0
    look_s: float = 0.1


class Pace:
    """Belongs to one event loop."""

    def __init__(self, direct: DirectCalls, manners: Manners, clock: Callable[[], float]) -> None:
        self._direct = direct
        self._manners = manners
        self._clock = clock
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
        self._direct.begins(model)

    def ended(self, model: str, took_s: float) -> float:
        """After a job call: learn from how long it took. The pause to make before the next, in seconds."""
        self._direct.ended(model)
        if not self.is_polite:
            return 0.0
        size = self._sizes.get(model, 1)
        if took_s > self._manners.slice_s:
            self._sizes[model] = max(1, size // 2)
        elif took_s < self._manners.slice_s / 2:
            self._sizes[model] = size * 2
        return took_s * (1 / self._manners.share - 1)

    async def look(self) -> None:
        """Look for direct calls again and again, until cancelled."""
        while True:
            if await self._direct.seen():
                self._seen_at = self._clock()
            await asyncio.sleep(self._manners.look_s)
