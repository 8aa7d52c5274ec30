"""Pod-seconds and shares of calls, by figures that can be checked by head."""

import math

import pytest

from loadtest.scaling.accounts import Account, Called, Lived, account, most_at_once, percentile, seconds_of
from loadtest.scaling.scenarios import Parts, lines_of


@pytest.mark.parametrize(
    ("pod", "seconds"),
    [
        (Lived(-5.0, None), 100.0),  # there all the time
        (Lived(20.0, None), 80.0),
        (Lived(20.0, 50.0), 30.0),
        (Lived(20.0, 130.0), 80.0),
        (Lived(-20.0, -5.0), 0.0),
        (Lived(110.0, None), 0.0),
    ],
)
def test_a_pod_costs_from_its_creation_until_it_is_gone(pod: Lived, seconds: float) -> None:
    assert seconds_of(pod, 100.0) == seconds


def test_the_most_pods_at_once_are_counted_within_the_run() -> None:
    pods = {"a": Lived(-1.0, None), "b": Lived(10.0, 20.0), "c": Lived(20.0, 30.0), "late": Lived(150.0, None)}
    assert most_at_once(pods, 100.0) == 2
    assert most_at_once({}, 100.0) == 0


def test_a_call_without_an_answer_is_over_the_goal() -> None:
    calls = [Called(0.0, 10.0), Called(1.0, 20.0), Called(2.0, 300.0), Called(3.0, None)]
    assert account(calls, {"a": Lived(0.0, None)}, 10.0, 250.0) == Account(
        calls=4, failed=1, over_goal_percent=50.0, p50_ms=20.0, p99_ms=300.0, pod_seconds=10.0, most_pods=1
    )
    assert math.isnan(account([], {}, 10.0, 250.0).over_goal_percent)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], percent) for percent in (0, 50, 75, 99, 100)] == [1, 2, 3, 4, 4]
    assert math.isnan(percentile([], 50))


def test_the_parts_of_a_step_add_up() -> None:
    parts = Parts(4.0, 5.0, 5.5, 5.6, 7.0, 11.0, 13.0)
    assert sum(took_s for _, took_s in lines_of(parts)) == parts.answered_s
