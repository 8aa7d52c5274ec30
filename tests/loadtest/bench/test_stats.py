"""Rounds, cells and ratios."""

import pytest

from loadtest.bench.goals import GOALS, Goal
from loadtest.bench.stats import cell_from_rounds, ratio_from_goal, round_from_latencies
from tests.loadtest.bench.made_up import image_work, rounds

AGAINST_FASTAPI = Goal("x", "image", ("Triton gRPC", 32), ("FastAPI",), 32, at_least=1.3)


def test_a_round_counts_answers_over_its_own_time() -> None:
    found = round_from_latencies([0.001, 0.002, 0.003], 6, 2.0, errors=1, client_cpu=0.5)
    assert (found.per_s, found.p50_ms, found.count, found.errors) == (3.0, pytest.approx(2.0), 6, 1)
    assert found.p99_ms == pytest.approx(2.98)


def test_a_round_without_answers_has_no_latencies() -> None:
    found = round_from_latencies([], 0, 2.0, errors=5)
    assert (found.per_s, found.p50_ms, found.p99_ms, found.errors) == (0.0, None, None, 5)


def test_a_cell_is_the_median_of_its_rounds_with_quartiles() -> None:
    cell = cell_from_rounds("x", 8, rounds(100, 300, 200))
    assert (cell.per_s_low, cell.per_s, cell.per_s_high) == (150, 200, 250)


@pytest.mark.parametrize(("client_cpu", "is_full"), [(0.5, False), (0.95, True)])
def test_a_client_that_has_no_core_left_is_told(client_cpu: float, is_full: bool) -> None:
    assert cell_from_rounds("x", 8, rounds(100, client_cpu=client_cpu)).client_is_full is is_full


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    found = ratio_from_goal(AGAINST_FASTAPI, image_work())
    assert (found.low, found.median, found.high, found.rounds, found.is_met) == (1.5, 2.0, 2.5, 3, True)


def test_a_goal_that_is_missed_is_told() -> None:
    goal = Goal("x", "image", ("Triton gRPC", 32), ("FastAPI",), 32, at_least=2.1)
    assert ratio_from_goal(goal, image_work()).is_met is False


def test_an_upper_bound_is_held_too() -> None:
    goal = Goal("x", "image", ("Triton gRPC", 32), ("FastAPI",), 32, measure="p99_ms", at_most=0.9)
    assert ratio_from_goal(goal, image_work()).is_met is False


def test_an_ensemble_is_held_against_the_slowest_of_its_steps() -> None:
    goal = next(goal for goal in GOALS if goal.name.startswith("image: pipeline in one process / its"))
    assert ratio_from_goal(goal, image_work()).median == 1.0


@pytest.mark.parametrize(
    ("work", "goal", "reason"),
    [
        (image_work(FastAPI="wrong answers"), AGAINST_FASTAPI, "FastAPI: wrong answers"),
        (
            image_work(),
            Goal("x", "image", ("Triton gRPC", 32), ("Ray Serve",), 32),
            "Ray Serve was not asked to run",
        ),
        (
            image_work(),
            Goal("x", "image", ("Triton gRPC", 8), ("FastAPI",), 32),
            "Triton gRPC has no rounds at this concurrency",
        ),
    ],
)
def test_a_ratio_without_figures_says_why_and_is_no_number(work: object, goal: Goal, reason: str) -> None:
    found = ratio_from_goal(goal, work)  # type: ignore[arg-type]
    assert (found.median, found.is_met, found.not_measured) == (None, None, reason)
