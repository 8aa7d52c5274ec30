"""The error rates that a judgement states, by simulation of the very rule that decides."""

from __future__ import annotations

import numpy as np
import pytest

from ai102.judging import agreement
from ai102.judging.agreement import OPEN, PASS, STOP

# Of digits' test split.
SAMPLES, TRIALS = 460, 2000


def wrong_answers(primary: float, canary: float, kind: str) -> tuple[agreement.Flags, agreement.Flags]:
    """Which samples each answers wrongly [TRIALS, SAMPLES]: at these rates, the same ones, or independent ones."""
    random = np.random.default_rng(102)
    drawn = random.random((TRIALS, SAMPLES))
    other = random.random((TRIALS, SAMPLES)) if kind == "independent" else drawn
    return drawn < primary, other < canary


def shares(primary: float, canary: float, kind: str) -> list[float]:
    """How often the rule leaves open, stops and passes."""
    before, after = wrong_answers(primary, canary, kind)
    state, _ = agreement.decide(agreement.rule(SAMPLES), ~before & after, before & ~after)
    return [float((state == one).mean()) for one in (OPEN, STOP, PASS)]


@pytest.mark.parametrize("kind", ["the same", "independent"])
def test_a_release_of_97_5_percent_against_99_6_passes_at_most_5_percent_of_the_time(kind: str) -> None:
    is_open, is_stopped, passes = shares(0.004, 0.025, kind)
    assert passes <= 0.05
    assert is_stopped >= 0.5 > is_open


@pytest.mark.parametrize("wrong", [0.0, 0.004, 0.01, 0.03, 0.1, 0.3])
def test_an_equally_good_release_is_stopped_at_most_1_percent_of_the_time_whatever_its_errors_are(wrong: float) -> None:
    assert shares(wrong, wrong, "independent")[STOP] <= 0.01


def test_a_release_with_the_same_answers_always_passes() -> None:
    assert shares(0.004, 0.004, "the same") == [0.0, 0.0, 1.0]


def test_a_better_release_is_stopped_even_more_rarely() -> None:
    assert shares(0.02, 0.004, "independent")[STOP] <= 0.001


def test_a_release_that_errs_on_a_tenth_is_always_stopped() -> None:
    assert shares(0.004, 0.1, "independent")[STOP] == 1.0


def test_the_smallest_drop_that_is_stopped_is_stopped_as_often_as_stated() -> None:
    rule = agreement.rule(SAMPLES)
    assert 0.02 < rule.smallest_stopped < 0.03
    assert shares(0.0, rule.smallest_stopped, "the same")[STOP] == pytest.approx(0.95, abs=0.02)


def test_lost_answers_at_once_are_stopped_early() -> None:
    state, at = agreement.decide(agreement.rule(SAMPLES), np.ones(20, bool), np.zeros(20, bool))
    assert (int(state), int(at)) == (STOP, 15)


@pytest.mark.parametrize(("size", "points"), [(50, 6.4), (128, 2.5), (460, 2.1), (2000, 2.1)])
def test_few_samples_exclude_less(size: int, points: float) -> None:
    rule = agreement.rule(size)
    assert 100 * rule.excluded_drop == pytest.approx(points, abs=0.05)
    state, _ = agreement.decide(rule, np.zeros(size, bool), np.zeros(size, bool))
    assert int(state) == PASS


def test_half_of_the_error_rate_needs_more_evidence() -> None:
    whole, half = agreement.rule(SAMPLES), agreement.rule(SAMPLES, 0.5)
    assert half.balance > whole.balance
    assert half.balance_alpha <= whole.balance_alpha / 2
