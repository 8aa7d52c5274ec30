"""Tests whose error rates are known: bets against a mean, which hold at every look, and exact limits of counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil, floor, lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The shares of the largest bet that are made together, with equal stakes.
FRACTIONS = (0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 0.95)
# Of rare events: a large bet on a rare one is lost before it comes. Against 0.1 % the bet of 0.009 is best for 1 %.
RARE_FRACTIONS = (0.003, 0.01, 0.03, 0.1, 0.3)
# With more samples that differ than this, the sum of signs is as good as normal.
MOST_EXACT = 600


def log_wealth(values: Floats, mean: float, low: float, fractions: Sequence[float] = FRACTIONS) -> Floats:
    """The logarithm of what bets against "the mean is at most `mean`" have won after each value.

    `values` [..., n], none below `low`, which is below `mean`; returns [..., n]. Where the claim holds, whatever came
    before, the wealth is a supermartingale that begins at 1, so it ever reaches 1/alpha with a probability of at most
    alpha: Ville's inequality; the bets are those of Waudby-Smith and Ramdas 2023, J. R. Stat. Soc. B 86:1.
    """
    if values.shape[-1] == 0:
        return np.zeros(values.shape)
    together = np.full(values.shape, -np.inf)
    for fraction in fractions:
        np.logaddexp(together, np.log1p(fraction / (mean - low) * (values - mean)).cumsum(axis=-1), out=together)
    return together - log(len(fractions))


class Wealth:
    """`log_wealth` of values that come one by one: `highest` is the largest of all looks."""

    def __init__(self, mean: float, low: float, fractions: Sequence[float] = FRACTIONS) -> None:
        self.highest = 0.0
        self._mean, self._stakes = mean, np.array(fractions) / (mean - low)
        self._logs = np.full(len(fractions), -log(len(fractions)))

    def add(self, value: float) -> None:
        self._logs += np.log1p(self._stakes * (value - self._mean))
        self.highest = max(self.highest, float(np.logaddexp.reduce(self._logs)))


def first_crossing(wealth: Floats, alpha: float) -> int | None:
    """The number of values after which the wealth [n] had reached 1/alpha; None where it never did."""
    crossed = wealth >= -log(alpha)
    return int(crossed.argmax()) + 1 if crossed.any() else None


@lru_cache(maxsize=64)
def pass_limits(size: int, good: float, bad: float, beta: float) -> tuple[Ints, float]:
    """Up to how many events among the first t of `size` samples say that their rate is below `bad`.

    Returns limits [size + 1], -1 where no count says so yet, and the exact probability that a rate of `bad` ever
    reaches them, which is at most `beta`; at higher rates it is smaller. The limits are a line of equal likelihood
    ratio between `good` and `bad`, as in Wald's test.
    """
    rise, fall = log(bad / good), log((1 - bad) / (1 - good))
    times = np.arange(size + 1)

    def limits(level: float) -> Ints:
        return np.array([floor((-level - t * fall) / (rise - fall) + 1e-9) for t in times], np.int64).clip(min=-1)

    chosen = limits(_least(lambda level: falls_to(limits(level), bad) <= beta, 0.0, 40.0))
    return chosen, falls_to(chosen, bad)


def falls_to(limits: Ints, rate: float) -> float:
    """The probability that a count of events is ever at its limit or below, from the first sample on; exact."""
    states = max(int(limits.max()) + 2, 2)
    at = np.zeros(states)
    at[0] = 1.0
    reached = 0.0
    for limit in limits[1:]:
        moved = at * (1 - rate)
        moved[1:] += at[:-1] * rate
        moved[-1] += at[-1] * rate  # a count beyond every limit stays there
        if limit >= 0:
            reached += float(moved[: limit + 1].sum())
            moved[: limit + 1] = 0
        at = moved
    return reached


@lru_cache(maxsize=64)
def balance_limit(size: int, alpha: float) -> tuple[float, float]:
    """From which (lost - won) / sqrt(lost + won) on the samples say that more is lost than won.

    Returns the limit, and the exact probability to reach it among `size` samples where losing and winning are equally
    likely, in the worst case over how likely: an unconditional test of matched pairs (Suissa and Shuster 1991,
    Biometrics 47:361). Where winning is likelier than losing the probability is smaller.
    """
    most = min(size, MOST_EXACT)
    shares = np.concatenate([np.linspace(0.5, 12, 47), np.linspace(13, most / 2, 20)]) / size
    weights = np.stack([_binomial(size, min(share, 1.0), most) for share in shares])

    tails, counts = _tails(most), np.arange(most + 1)

    def worst(limit: float) -> float:
        heads = np.maximum(np.ceil((counts + limit * np.sqrt(counts)) / 2 - 1e-9), 1).astype(int)
        reached = np.where(heads <= counts, tails[counts, np.minimum(heads, counts)], 0.0)
        return float((weights @ reached).max())

    limit = _least(lambda level: worst(level) <= alpha, 1.0, 5.0)
    return limit, worst(limit)


def least_lost(limit: float) -> int:
    """How many lost samples reach that limit of `balance_limit` where none is won."""
    return ceil(limit**2 - 1e-9)


def smallest_rate(events: int, size: int, power: float) -> float:
    """The smallest rate, to 0.0001, that gives so many events among `size` samples with at least that probability."""

    def at_least(rate: float) -> bool:
        return 1 - float(_binomial(size, rate, events - 1).sum()) >= power

    return _least(at_least, 0.0, 1.0, 1e-4)


def _tails(most: int) -> Floats:
    """[count, heads]: the probability of at least so many heads in `count` throws of a fair coin."""
    masses = np.zeros((most + 1, most + 1))
    masses[0, 0] = 1.0
    for count in range(most):
        masses[count + 1] = masses[count] / 2
        masses[count + 1, 1:] += masses[count, :-1] / 2
    return np.asarray(masses[:, ::-1].cumsum(axis=1)[:, ::-1])


def _binomial(size: int, rate: float, most: int) -> Floats:
    """The probabilities of 0 to `most` events among `size` samples."""
    if rate <= 0 or rate >= 1:
        return np.array([float(k == (0 if rate <= 0 else size)) for k in range(most + 1)])
    logs = [
        lgamma(size + 1) - lgamma(k + 1) - lgamma(size - k + 1) + k * log(rate) + (size - k) * log1p(-rate)
        for k in range(min(most, size) + 1)
    ]
    return np.exp(logs)


def _least(is_enough: Callable[[float], bool], low: float, high: float, to: float = 0.005) -> float:
    """The smallest value between `low` and `high` that is enough, as every higher one is; `high` where none is."""
    while high - low > to:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
