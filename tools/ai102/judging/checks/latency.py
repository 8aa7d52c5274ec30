"""Whether the canary is slower than the version in service in the same run, or than the contract's goal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ai102.judging.error_rates import SHARES
from ai102.judging.finding import Finding
from ai102.judging.record import Pair, Record
from ai102.judging.sequential import first_crossing, log_wealth

# The median call may take so many times that of the version in service, which was asked the same beside it. Up to
# SURE_RATIO the error rate holds whatever else the machines do; what lies between is judged by the median alone.
ALLOWED_RATIO, SURE_RATIO = 1.5, 1.25
# Of calls beyond the goal of p99.
ALLOWED_LATE = 0.01
# A first call happens once, so no error rate can be stated for it: only one far beyond the goal and later calls counts.
FIRST_TIMES_GOAL, FIRST_TIMES_LATER = 10.0, 20.0
# One such pair of calls is not counted as evidence that the canary is slow.
LEAST_MS = 0.2


def slower(record: Record, part: float) -> Iterator[Finding]:
    """By pipeline and kind of call: how often the canary takes over SURE_RATIO times as long; half may."""
    if not record.has_primary:
        return
    streams: dict[tuple[str, str], dict[tuple[str, int], list[tuple[float, float]]]] = {}
    for pair in record.of(None, "alone", "batch", "crowd"):
        if pair.primary is not None and pair.canary.outputs is not None and pair.primary.outputs is not None:
            bursts_of = streams.setdefault((pair.call.target.model, _kind(pair)), {})
            times = (pair.canary.milliseconds, pair.primary.milliseconds)
            bursts_of.setdefault(_burst(pair, len(bursts_of)), []).append(times)
    share = SHARES["slower"] * part / max(len(record.subject.targets) * 4, 1)
    for (model, kind), by_burst in streams.items():
        rows = list(by_burst.values())
        bursts = np.array([np.median(np.array(row), axis=0) for row in rows])
        canary, primary = np.concatenate([np.array(row) for row in rows]).T
        is_slow = (bursts[:, 0] > SURE_RATIO * bursts[:, 1]) & (bursts[:, 0] > bursts[:, 1] + LEAST_MS)
        ratio = float(np.median(bursts[:, 0] / bursts[:, 1]))
        is_sure = first_crossing(log_wealth(is_slow.astype(float), 0.5, 0.0), share) is not None
        is_stopped = is_sure and ratio > ALLOWED_RATIO
        facts = {
            "pipeline": model,
            "calls": kind,
            "count": len(canary),
            "p50 ms": [_quantile(canary, 50), _quantile(primary, 50)],
            "p99 ms": [_quantile(canary, 99), _quantile(primary, 99)],
            "median ratio": ratio,
            "allowed ratio": ALLOWED_RATIO,
            "quantiles ms": [_quantiles(canary), _quantiles(primary)],
        }
        says = (
            f"{model}, {kind}: p50 {_quantile(canary, 50):.1f} ms, in service {_quantile(primary, 50):.1f} ms; "
            f"p99 {_quantile(canary, 99):.1f} and {_quantile(primary, 99):.1f} ms; {ratio:.2f} times as long"
        )
        if is_stopped:
            says += f" in the median of {len(canary)} calls, allowed are {ALLOWED_RATIO:g} times"
        yield Finding("latency", record.subject.name, "stop" if is_stopped else "quiet", says, facts)


def late(record: Record, part: float) -> Iterator[Finding]:
    """Calls beyond the goal that are not late on the version in service."""
    share = SHARES["late"] * part / max(len(record.subject.targets), 1)
    for target in record.subject.targets:
        pairs = [pair for pair in record.of(target, "alone", "crowd", "again") if pair.canary.outputs is not None]
        if not pairs:
            continue
        mine = np.array([pair.canary.milliseconds > target.goal_ms for pair in pairs], float)
        others = np.array(
            [pair.primary is not None and pair.primary.milliseconds > target.goal_ms for pair in pairs], float
        )
        by_burst: dict[tuple[str, int], list[float]] = {}
        for pair, more in zip(pairs, (mine - others).tolist(), strict=True):
            by_burst.setdefault(_burst(pair, len(by_burst)), []).append(more)
        values = np.array([np.mean(rows) for rows in by_burst.values()])
        at = first_crossing(log_wealth(values, ALLOWED_LATE, -1.0), share)
        facts = {
            "pipeline": target.model,
            "calls": len(pairs),
            "late": [int(mine.sum()), int(others.sum())],
            "goal ms": target.goal_ms,
        }
        says = (
            f"{target.model}: {int(mine.sum())} of {len(pairs)} calls took over {target.goal_ms:g} ms, the goal; "
            f"in service {int(others.sum())}"
        )
        yield Finding("goal", record.subject.name, "stop" if at is not None else "quiet", says, facts)


def first_calls(record: Record, part: float) -> Iterator[Finding]:
    """The first call of each pipeline against later ones: what a canary without a warm-up makes its callers wait."""
    for target in record.subject.targets:
        first = next(record.of(target, "first"), None)
        later = [pair.canary.milliseconds for pair in record.of(target, "alone")]
        if first is None or not later:
            continue
        median, limit = float(np.median(later)), FIRST_TIMES_GOAL * target.goal_ms
        beside = first.primary.milliseconds if first.primary else 0.0
        is_late = first.canary.milliseconds > max(limit, FIRST_TIMES_LATER * median) and beside <= target.goal_ms
        facts = {
            "pipeline": target.model,
            "first ms": first.canary.milliseconds,
            "later p50 ms": median,
            "limit ms": limit,
        }
        says = f"{target.model}: the first call took {first.canary.milliseconds:.1f} ms, later ones {median:.1f} ms"
        if is_late:
            says += f"; {limit:g} ms are allowed: warm it up before it takes traffic"
        if first.canary.outputs is None:
            is_late, says = True, f"{target.model}: the first call failed: {first.canary.error}"
        yield Finding("first calls", record.subject.name, "stop" if is_late else "quiet", says, facts)


def _burst(pair: Pair, number: int) -> tuple[str, int]:
    """Calls sent at once are one observation: their times are not independent. Others are one each."""
    return (pair.call.purpose, pair.call.burst if pair.call.purpose == "crowd" else number)


def _kind(pair: Pair) -> str:
    if pair.call.purpose == "batch":
        return f"batches of {len(pair.call.positions)}"
    return "one at a time" if pair.call.purpose == "alone" else "several at once"


def _quantile(values: NDArray[np.float64], percent: float) -> float:
    return float(np.percentile(values, percent))


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    return [round(_quantile(values, percent), 3) for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)]
