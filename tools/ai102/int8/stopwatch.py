"""How much faster one thing runs than another, measured side by side so that a busy machine slows both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

ROUNDS = 9
# Below this, a round is several calls: a clock and a scheduler have their grain.
MIN_ROUND_S = 0.005
# INT8 has lost when it is slower by more than this, twice.
CLEARLY = 0.95


@dataclass(frozen=True)
class Speed:
    """Medians of all rounds; `ratio` is how many times as fast INT8 is, low and high its quartiles."""

    fp32_ms: float
    int8_ms: float
    batch: int
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int

    def as_dict(self) -> dict[str, float]:
        return {key: value if isinstance(value, int) else float(f"{value:.4g}") for key, value in asdict(self).items()}

    def __str__(self) -> str:
        return (
            f"{self.ratio:.2f}x as fast as FP32 ({self.ratio_low:.2f} to {self.ratio_high:.2f}) at batch {self.batch}, "
            "one thread"
        )


def compare(
    fp32: Callable[[], object],
    int8: Callable[[], object],
    batch: int,
    *,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Time both `rounds` times in turns, taking turns in going first, after one call each to warm up."""
    runs = (fp32, int8)
    calls = [max(1, round(MIN_ROUND_S / max(_seconds(run, 1, clock), 1e-9))) for run in runs]
    calls = [min(count, 1000) for count in calls]
    times = np.zeros((rounds, 2))
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            times[turn, which] = _seconds(runs[which], calls[which], clock)
    ratios = times[:, 0] / times[:, 1]
    middle = np.median(times, axis=0) * 1000
    low, ratio, high = np.percentile(ratios, [25, 50, 75])
    return Speed(float(middle[0]), float(middle[1]), batch, float(ratio), float(low), float(high), rounds)


def verdict(measure: Callable[[], Speed]) -> tuple[Speed, str]:
    """What was measured, and why FP32 wins: empty where it does not, or not clearly and twice."""
    speed = measure()
    if speed.ratio >= CLEARLY:
        return speed, ""
    again = measure()
    if again.ratio >= CLEARLY:
        return again, ""
    return again, f"fp32 wins: INT8 is {again} on this machine, and was {speed.ratio:.2f}x when measured before"


def _seconds(run: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    """Of one call, over `calls` of them."""
    began = clock()
    for _ in range(calls):
        run()
    return (clock() - began) / calls
