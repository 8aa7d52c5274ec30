"""A simulated batching server with a queue, so that a rate search takes no time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ai102.tune.candidate import Candidate
from ai102.tune.rate import Window

LENGTH_S = 4.0


@dataclass
class SimulatedServer:
    """Runs batches of a candidate's size: each costs `fixed_ms` and `item_ms` for each request in it.

    More instances than `cores` slow each other. `now` counts the seconds that the windows would have taken.
    """

    fixed_ms: float = 2.0
    item_ms: float = 0.2
    cores: int = 1
    client_limit: float = float("inf")  # requests per second that the client can send
    noise: float = 0.0
    now: float = 0.0
    windows: list[tuple[Candidate, float]] = field(default_factory=list)

    def window(self, candidate: Candidate, rate: float) -> Window:
        self.windows.append((candidate, rate))
        self.now += LENGTH_S
        random = np.random.default_rng(len(self.windows) if self.noise else 7)
        arrivals = np.cumsum(random.exponential(1 / rate, int(rate * LENGTH_S) + 1)) * 1000
        if rate > self.client_limit:
            return Window(rate, (1000.0,) * 100, client_lag_ms=1000.0, was_cut=True)
        slow = max(1.0, candidate.instances / self.cores) * (1 + self.noise * random.standard_normal())
        return Window(rate, tuple(self._latencies_ms(candidate, arrivals, slow)))

    def saturation(self, candidate: Candidate) -> float:
        size = max(1, candidate.max_batch_size)
        return min(self.client_limit, self.cores * 1000 * size / (self.fixed_ms + self.item_ms * size))

    def _latencies_ms(self, candidate: Candidate, arrivals: np.ndarray, slow: float) -> list[float]:  # type: ignore[type-arg]
        free = [0.0] * candidate.instances
        latencies, at = [], 0
        while at < len(arrivals):
            instance = int(np.argmin(free))
            starts = max(free[instance], arrivals[at] + candidate.max_queue_delay_us / 1000)
            end = at + 1
            while end < len(arrivals) and end - at < candidate.max_batch_size and arrivals[end] <= starts:
                end += 1
            ends = starts + slow * (self.fixed_ms + self.item_ms * (end - at))
            latencies += [ends - arrival for arrival in arrivals[at:end]]
            free[instance] = ends
            at = end
        return latencies
