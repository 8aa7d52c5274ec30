"""How load changes over a run: from the part of the time that is over to the part of the full load; numbers only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SPIKE = (0.4, 0.6)  # full load between these parts of the run
SOAK_RAMP = 0.05


@dataclass(frozen=True)
class Parameters:
    steps: int = 5
    base: float = 0.2  # of the full load: before and after a spike, and at night


Shape = Callable[[float, Parameters], float]


def step(over: float, parameters: Parameters) -> float:
    """Up in equal steps, the last at full load: where does it stop keeping up?"""
    return min(1.0, (math.floor(over * parameters.steps) + 1) / parameters.steps)


def spike(over: float, parameters: Parameters) -> float:
    """Full load at once for a fifth of the time: does it survive, and recover?"""
    return 1.0 if SPIKE[0] <= over < SPIKE[1] else parameters.base


def soak(over: float, _parameters: Parameters) -> float:
    """Up within a twentieth of the time, then full load to the end: does anything leak?"""
    return min(1.0, over / SOAK_RAMP)


def day(over: float, parameters: Parameters) -> float:
    """A day in the time there is, from night to night, full load at noon."""
    return parameters.base + (1 - parameters.base) * (1 - math.cos(2 * math.pi * over)) / 2


SHAPES: Mapping[str, Shape] = {"step": step, "spike": spike, "soak": soak, "day": day}


def users_at(shape: str, over: float, full: int, parameters: Parameters) -> int:
    """How many of `full` users there are; one at least, for a load of nothing measures nothing."""
    return max(1, round(SHAPES[shape](over, parameters) * full))
