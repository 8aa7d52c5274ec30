import numpy as np
import pytest

from ai102.judging.sequential import (
    RARE_FRACTIONS,
    balance_limit,
    falls_to,
    first_crossing,
    least_lost,
    log_wealth,
    pass_limits,
    smallest_rate,
)

RANDOM = np.random.default_rng(102)
TRIALS, LENGTH, ALPHA = 2000, 300, 0.02
# Values whose mean is just what is allowed: mean, low, values.
AT_THE_LIMIT = {
    "coins": (0.5, 0.0, RANDOM.integers(0, 2, (TRIALS, LENGTH)).astype(float)),
    "rare events": (0.01, 0.0, (RANDOM.random((TRIALS, LENGTH)) < 0.01).astype(float)),
    "signs": (0.0, -1.0, RANDOM.choice([-1.0, 0.0, 1.0], (TRIALS, LENGTH))),
    "distances": (0.02, 0.0, RANDOM.exponential(0.02, (TRIALS, LENGTH)).clip(0, 2)),
}


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_bets_against_what_is_true_win_rarely_however_often_one_looks(name: str) -> None:
    mean, low, values = AT_THE_LIMIT[name]
    crossed = (log_wealth(values, mean, low) >= -np.log(ALPHA)).any(axis=1).mean()
    assert crossed <= ALPHA


def test_an_error_rate_of_one_percent_is_seen_against_one_in_a_thousand() -> None:
    errors = (np.arange(1, 801) % 100 == 0).astype(float)
    at = first_crossing(log_wealth(errors, 0.001, 0.0, RARE_FRACTIONS), 0.001)
    assert at is not None
    assert at <= 700


def test_no_values_are_no_evidence() -> None:
    assert first_crossing(log_wealth(np.zeros(0), 0.5, 0.0), 0.05) is None


def test_pass_limits_keep_to_their_error_rate_exactly() -> None:
    limits, beta = pass_limits(200, 0.01, 0.05, 0.04)
    counts = (RANDOM.random((20_000, 200)) < 0.05).cumsum(axis=1)
    reached = (counts <= limits[1:]).any(axis=1).mean()
    assert beta <= 0.04
    assert reached == pytest.approx(beta, abs=0.005)
    assert falls_to(limits, 0.08) < beta


@pytest.mark.parametrize("chance", [0.004, 0.01, 0.05])
def test_the_balance_limit_keeps_to_its_error_rate(chance: float) -> None:
    limit, alpha = balance_limit(460, 0.05)
    drawn = RANDOM.random((10_000, 460))
    lost, won = (drawn < chance).sum(axis=1), (drawn > 1 - chance).sum(axis=1)
    reached = (lost - won >= limit * np.sqrt(np.maximum(lost + won, 1)) - 1e-9).mean()
    assert alpha <= 0.05
    assert reached <= alpha + 0.006


def test_the_smallest_rate_gives_the_events_as_often_as_stated() -> None:
    limit, _ = balance_limit(460, 0.005)
    events = least_lost(limit)
    rate = smallest_rate(events, 460, 0.95)
    assert events == 7
    assert (RANDOM.binomial(460, rate, 20_000) >= events).mean() == pytest.approx(0.95, abs=0.01)
