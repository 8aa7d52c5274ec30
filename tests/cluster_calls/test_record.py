"""The row of a scenario: what failed, the slowest answer, and how long calls were disturbed."""

import pytest

from tests.cluster.calls.load import calls_from_text, text_of_calls
from tests.cluster.calls.record import Call, row_of
from tests.cluster.calls.scenarios import Goal

CALLS = [
    Call("gRPC", 10.0, 10.1, 1),
    Call("REST", 11.0, 13.5, 3),  # slow: it was tried three times
    Call("gRPC", 12.0, 12.2, 2, "NoServerError: gone"),
    Call("gRPC", 20.0, 20.1, 1),
]


def test_a_row_counts_failures_retries_and_the_time_until_nothing_is_disturbed() -> None:
    row = row_of("a fault", CALLS, 10.5, 60.0)
    assert (row.calls, row.failed, row.retries, row.slowest_s) == (4, 1, 3, 2.5)
    assert (row.recovery_s, row.last_failure_s) == (3.0, 1.5)
    assert row.ways == {"REST": 1, "gRPC": 3}
    assert row.failures == {"NoServerError: gone": 1}


def test_a_call_that_ended_before_the_fault_is_no_part_of_the_recovery() -> None:
    assert row_of("a fault", CALLS, 15.0, 60.0).recovery_s == 0.0


def test_a_scenario_without_a_call_is_no_scenario() -> None:
    with pytest.raises(ValueError, match="no call was made"):
        row_of("a fault", [], 1.0, 60.0)


def test_calls_are_read_as_they_were_written() -> None:
    assert calls_from_text(text_of_calls(CALLS)) == CALLS


def test_a_goal_bounds_the_share_that_fails_and_the_time_of_the_last_failure() -> None:
    row = row_of("a fault", CALLS, 10.5, 60.0)
    assert not Goal().is_met(row)
    assert Goal(0.25, 2.0).is_met(row)
    assert not Goal(0.25, 1.0).is_met(row)
    assert not Goal(0.2, 2.0).is_met(row)
    assert str(Goal(0.001, 3.0)) == "0.1%, all within 3 s"
