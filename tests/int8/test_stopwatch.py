"""Two things are timed side by side, and INT8 has lost only when it is clearly slower, twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ai102.int8.stopwatch import Speed, compare, verdict


class Clock:
    """A clock that goes on only when something runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def job(self, name: str, seconds: float) -> None:
        self.order.append(name)
        self.now += seconds


def test_the_ratio_is_that_of_the_times_and_the_two_take_turns_in_going_first() -> None:
    clock = Clock()
    speed = compare(lambda: clock.job("fp32", 0.03), lambda: clock.job("int8", 0.01), 8, rounds=4, clock=clock)
    assert speed.as_dict() == pytest.approx(
        {"fp32_ms": 30, "int8_ms": 10, "batch": 8, "ratio": 3, "ratio_low": 3, "ratio_high": 3, "rounds": 4}
    )
    assert clock.order[2:] == ["fp32", "int8", "int8", "fp32", "fp32", "int8", "int8", "fp32"]


def test_what_is_quick_is_called_often_enough_for_a_clock_to_tell() -> None:
    clock = Clock()
    speed = compare(lambda: clock.job("fp32", 0.001), lambda: clock.job("int8", 0.0005), 1, rounds=3, clock=clock)
    assert (clock.order.count("fp32"), clock.order.count("int8")) == (1 + 3 * 5, 1 + 3 * 10)
    assert speed.fp32_ms == pytest.approx(1)


@pytest.mark.parametrize(
    ("ratios", "loses"), [([2.0], False), ([0.96], False), ([0.9, 1.1], False), ([0.9, 0.8], True)]
)
def test_int8_has_lost_only_when_it_is_clearly_slower_twice(ratios: list[float], loses: bool) -> None:
    measured: Iterator[float] = iter(ratios)

    def measure() -> Speed:
        ratio = next(measured)
        return Speed(ratio, 1, 8, ratio, ratio, ratio, 9)

    speed, reason = verdict(measure)
    assert speed.ratio == ratios[-1]
    assert bool(reason) == loses
    assert not loses or reason.startswith("fp32 wins: INT8 is 0.80x as fast as FP32 (0.80 to 0.80) at batch 8")
