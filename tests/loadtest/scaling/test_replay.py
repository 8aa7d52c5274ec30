"""Calls are due as the trace says, compressed in time, and the same every time."""

from itertools import pairwise

import pytest

from loadtest.scaling.replay import due_times, rate_at, step_times
from loadtest.traces.reading import Trace

UP_AND_DOWN = Trace("a", 60.0, (0.0, 100.0, 0.0))


@pytest.mark.parametrize(
    ("share", "rate"), [(0.0, 0.0), (0.25, 50.0), (0.5, 100.0), (0.75, 50.0), (1.0, 0.0), (2.0, 0.0)]
)
def test_the_rate_is_straight_between_steps(share: float, rate: float) -> None:
    assert rate_at(UP_AND_DOWN, share) == pytest.approx(rate)


def test_a_gap_has_the_rate_before_it() -> None:
    assert rate_at(Trace("a", 60.0, (4.0, None, 8.0)), 0.5) == 4.0
    assert rate_at(Trace("a", 60.0, (None, 8.0)), 0.0) == 0.0


def test_calls_follow_the_trace_up_to_the_peak() -> None:
    times = list(due_times(UP_AND_DOWN, 100.0, 40.0))
    assert times == sorted(times)
    assert len(times) == pytest.approx(2000, rel=0.07)  # a triangle of 100 s with 40 a second at its top
    middle = [at for at in times if 45 <= at < 55]
    assert len(middle) == pytest.approx(380, rel=0.12)
    assert times == list(due_times(UP_AND_DOWN, 100.0, 40.0))


@pytest.mark.parametrize("trace", [UP_AND_DOWN, Trace("a", 60.0, (0.0, 0.0)), Trace("a", 60.0, (None, None))])
def test_without_load_there_are_no_calls(trace: Trace) -> None:
    assert list(due_times(trace, 100.0, 0.0)) == []
    if trace.peak == 0:
        assert list(due_times(trace, 100.0, 10.0)) == []


def test_a_step_has_one_rate_before_and_another_after() -> None:
    times = list(step_times(10.0, 100.0, 20.0, 30.0))
    assert all(before <= after for before, after in pairwise(times))
    assert sum(at < 20 for at in times) == pytest.approx(200, rel=0.2)
    assert sum(20 <= at < 30 for at in times) == pytest.approx(1000, rel=0.1)
    assert times[-1] < 30
