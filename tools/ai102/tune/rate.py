"""Searches for the highest request rate with p99 under a goal: bracketing, then bisection, without I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ai102.errors import UserError

# Relative differences of rates below this are noise.
TOLERANCE = 0.05
GROWTH = 1.4
# A p99 within these shares of the goal is measured again.
NEAR = (0.8, 1.3)
LOOKS_WHEN_NEAR = 2
# If the client sends later than this share of the goal, the client is the bottleneck.
CLIENT_SHARE = 0.25


class GoalNotReachedError(UserError):
    """The goal is missed even at the lowest rate."""

    exit_status = 3


@dataclass(frozen=True)
class Window:
    """The measurements of requests at one rate."""

    rate: float  # offered, per second
    latencies_ms: tuple[float, ...]  # from the scheduled arrival; infinite without an answer
    client_lag_ms: float = 0.0  # p99 of the client's own delay in sending
    was_cut: bool = False  # ended early, since the goal was clearly missed

    def percentile_ms(self, percent: float) -> float:
        """The smallest latency that `percent` of the requests did not exceed."""
        ordered = sorted(self.latencies_ms)
        return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.inf

    @property
    def p50_ms(self) -> float:
        return self.percentile_ms(50)

    @property
    def p99_ms(self) -> float:
        return self.percentile_ms(99)

    def holds(self, goal_ms: float) -> bool:
        return not self.was_cut and self.p99_ms <= goal_ms

    def missed_by_client(self, goal_ms: float) -> bool:
        """Whether the goal was missed while the client sent later than its schedule."""
        return not self.holds(goal_ms) and self.client_lag_ms > CLIENT_SHARE * goal_ms


@dataclass(frozen=True)
class Sustained:
    """The highest rate that met the goal, and whether the client, not the server, limited it."""

    window: Window
    is_client_bound: bool = False


Measure = Callable[[float], Window]


def pooled(windows: Sequence[Window]) -> Window:
    """Windows of one rate as one: a p99 of more requests varies less."""
    return Window(
        windows[0].rate,
        tuple(latency for window in windows for latency in window.latencies_ms),
        max(window.client_lag_ms for window in windows),
        any(window.was_cut for window in windows),
    )


def looked_at(measure: Measure, rate: float, goal_ms: float) -> Window:
    """A window at that rate; several, pooled, if the first is too close to the goal to decide.

    A window that the client's delay spoiled is measured again: on a busy machine that may be chance.
    """
    windows = [measure(rate)]
    if windows[0].missed_by_client(goal_ms):
        return measure(rate)
    while len(windows) < LOOKS_WHEN_NEAR:
        if windows[-1].was_cut or not NEAR[0] <= windows[-1].p99_ms / goal_ms <= NEAR[1]:
            break
        windows.append(measure(rate))
    return pooled(windows)


def highest_rate(
    measure: Measure,
    goal_ms: float,
    start: float,
    lowest: float,
    has_time: Callable[[], bool] = lambda: True,
    known: Window | None = None,
) -> Sustained:
    """The highest rate that meets the goal, to TOLERANCE unless time runs out; `known` is a window that met it.

    Raises GoalNotReachedError when the goal is missed at the rate `lowest` too.
    """
    good = known
    bad: float | None = None
    is_client_bound = False
    rate, seen = known.rate * GROWTH if known else max(start, lowest), math.inf
    while True:
        window = looked_at(measure, rate, goal_ms)
        seen = min(seen, window.p99_ms)
        if window.holds(goal_ms):
            good = window
        else:
            bad = rate
            is_client_bound = window.missed_by_client(goal_ms)
        if good is None:
            assert bad is not None
            if bad <= lowest:
                raise GoalNotReachedError(
                    f"a p99 of {goal_ms:g} ms is out of reach: at {lowest:.3g} requests/s it was {window.p99_ms:.3g} "
                    f"ms, the lowest seen {seen:.3g} ms; raise the goal, or make the model faster"
                )
            rate = max(lowest, bad / 2)
        elif bad is None:
            rate = good.rate * GROWTH
        elif bad / good.rate <= 1 + TOLERANCE:
            return Sustained(good, is_client_bound)
        else:
            rate = math.sqrt(good.rate * bad)
        if good is not None and not has_time():
            return Sustained(good, is_client_bound)
