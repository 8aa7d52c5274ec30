"""How often one user may get tokens: counted in memory, by whole minutes."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable

WINDOW_S = 60


class Pace:
    """So many times in a minute for each name. Threads may share it."""

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def wait_s(self, name: str) -> int:
        """Count once more for `name`: 0 when that is allowed, otherwise after how many seconds it is."""
        now_s = self._clock()
        minute = int(now_s // WINDOW_S)
        with self._lock:
            if minute != self._minute:
                self._minute, self._counts = minute, Counter()
            self._counts[name] += 1
            if self._counts[name] <= self._per_minute:
                return 0
        return max(1, math.ceil((minute + 1) * WINDOW_S - now_s))
