"""What one replica carries through the gateway: the rate whose p99 is within the goal, and the calls in flight then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai102.errors import UserError
from loadtest.scaling.accounts import percentile
from loadtest.scaling.load import Callers, Driven, drive, saturate
from loadtest.scaling.replay import step_times

IN_FLIGHT, SATURATED_S, WINDOW_S, LEAD_S = 16, 8.0, 15.0, 3.0
# Of what it does when it is never idle.
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True)
class Carried:
    """By one replica: calls a second within the goal, and how many are in flight then."""

    rate: float
    in_flight: float
    p99_ms: float


def carried(who: Callers, begin: Callable[[], float], say: Callable[[str], None]) -> Carried:
    """Raises UserError when the goal is out of reach at the lowest rate."""
    most = saturate(who, IN_FLIGHT, SATURATED_S)
    say(f"one replica, never idle: {most:.1f} calls a second")
    for share in SHARES:
        rate = share * most
        driven = drive(who, step_times(rate, rate, 0.0, LEAD_S + WINDOW_S), begin)
        measured = measured_from(driven, rate)
        say(f"{rate:.1f} calls a second: p99 {measured.p99_ms:.0f} ms, {measured.in_flight:.1f} in flight")
        if measured.p99_ms <= who.goal_ms:
            return measured
    raise UserError(f"one replica misses the goal of {who.goal_ms:g} ms at {rate:.1f} calls a second, its least load")


def measured_from(driven: Driven, rate: float) -> Carried:
    """After the lead, which fills the queue. In flight: Little's law. A call without an answer misses every goal."""
    counted = [call for call in driven.calls if call.due_s >= LEAD_S]
    answered = sorted(call.latency_ms for call in counted if call.latency_ms is not None)
    if len(answered) < len(counted) or not answered:
        return Carried(rate, float("inf"), float("inf"))
    mean_s = sum(answered) / len(answered) / 1000
    return Carried(rate, max(1.0, rate * mean_s), percentile(answered, 99))
