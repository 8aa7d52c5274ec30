"""Statistics of rounds: percentiles, medians, and ratios of servers round by round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtest.bench.goals import Goal
from loadtest.bench.results import Cell, Ratio, Round, ServerRow, WorkResult

# Above this share of a core the client, not the server, may be the bottleneck.
CLIENT_IS_FULL = 0.85


def round_from_latencies(
    latencies_s: Sequence[float], count: int, elapsed_s: float, *, errors: int = 0, client_cpu: float = 0.0
) -> Round:
    """One round of `count` answers in `elapsed_s`; without latencies its rate is 0."""
    if not latencies_s:
        return Round(per_s=0.0, p50_ms=None, p99_ms=None, count=0, errors=errors, client_cpu=client_cpu)
    p50, p99 = np.percentile(np.asarray(latencies_s) * 1000, [50, 99])
    return Round(
        per_s=count / elapsed_s,
        p50_ms=float(p50),
        p99_ms=float(p99),
        count=count,
        errors=errors,
        client_cpu=client_cpu,
    )


def cell_from_rounds(server: str, concurrency: int, rounds: Sequence[Round]) -> Cell:
    """Medians over the rounds, and the quartiles of the throughput."""
    low, middle, high = np.percentile([one.per_s for one in rounds], [25, 50, 75])
    client_cpu = float(np.median([one.client_cpu for one in rounds]))
    return Cell(
        server=server,
        concurrency=concurrency,
        per_s=float(middle),
        per_s_low=float(low),
        per_s_high=float(high),
        p50_ms=_median([one.p50_ms for one in rounds]),
        p99_ms=_median([one.p99_ms for one in rounds]),
        errors=sum(one.errors for one in rounds),
        client_cpu=client_cpu,
        client_is_full=client_cpu >= CLIENT_IS_FULL,
        rounds=tuple(rounds),
    )


def ratio_from_goal(goal: Goal, work: WorkResult) -> Ratio:
    """Median and quartiles of the rounds' ratios, or the reason why there are none."""
    described = {"name": goal.name, "work": goal.work, "at_least": goal.at_least, "at_most": goal.at_most}
    over = [_values(goal.measure, work, *goal.over)]
    under = [_values(goal.measure, work, server, goal.under_concurrency) for server in goal.under]
    for server, values in zip((goal.over[0], *goal.under), (*over, *under), strict=True):
        if not values:
            return Ratio(**described, not_measured=_reason(server, work))
    # The smallest of several: an ensemble is compared with its slowest step.
    pairs = list(zip(over[0], (min(row) for row in zip(*under, strict=False)), strict=False))
    ratios = [above / below for above, below in pairs if below]
    if not ratios:
        return Ratio(**described, not_measured="nothing was answered in any round")
    low, middle, high = (float(value) for value in np.percentile(ratios, [25, 50, 75]))
    is_met = (goal.at_least is None or middle >= goal.at_least) and (goal.at_most is None or middle <= goal.at_most)
    has_goal = goal.at_least is not None or goal.at_most is not None
    return Ratio(
        **described, median=middle, low=low, high=high, rounds=len(ratios), is_met=is_met if has_goal else None
    )


def _values(measure: str, work: WorkResult, server: str, concurrency: int) -> list[float]:
    for cell in work.cells:
        if (cell.server, cell.concurrency) == (server, concurrency):
            return [value for one in cell.rounds if (value := getattr(one, measure)) is not None]
    return []


def _reason(server: str, work: WorkResult) -> str:
    rows: dict[str, ServerRow] = {row.server: row for row in work.servers}
    row = rows.get(server)
    if row is None:
        return f"{server} was not selected"
    return f"{server}: {row.not_measured}" if row.not_measured else f"{server} has no rounds at this concurrency"


def _median(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.median(present)) if present else None
