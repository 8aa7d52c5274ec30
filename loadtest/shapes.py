"""Load shapes: functions from the elapsed share of the run to the share of the full load."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SPIKE = (0.4, 0.6)  # full load between these parts of the run
SOAK_RAMP = 0.05


@dataclass(frozen=True)
class Parameters:
    steps: int = 5
    base: float = 0.2  # share of the full load before and after a spike, and at night


Shape = Callable[[float, Parameters], float]


def step(elapsed: float, parameters: Parameters) -> float:
    """Equal steps up to full load: shows the load at which the server is overloaded."""
    return min(1.0, (math.floor(elapsed * parameters.steps) + 1) / parameters.steps)


def spike(elapsed: float, parameters: Parameters) -> float:
    """Full load for a fifth of the time: shows whether the server recovers."""
    return 1.0 if SPIKE[0] <= elapsed < SPIKE[1] else parameters.base


def soak(elapsed: float, _parameters: Parameters) -> float:
    """Ramp up in a twentieth of the time, then full load: shows leaks."""
    return min(1.0, elapsed / SOAK_RAMP)


def day(elapsed: float, parameters: Parameters) -> float:
    """One day from night to night, scaled to the run time, with full load at noon."""
    return parameters.base + (1 - parameters.base) * (1 - math.cos(2 * math.pi * elapsed)) / 2


SHAPES: Mapping[str, Shape] = {"step": step, "spike": spike, "soak": soak, "day": day}


def users_at(shape: str, elapsed: float, full: int, parameters: Parameters) -> int:
    """The number of users, of `full`; at least one, since no load gives no measurement."""
    return max(1, round(SHAPES[shape](elapsed, parameters) * full))
