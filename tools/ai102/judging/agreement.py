"""Whether a canary loses right answers that the version in service gives: the rule that decides, and its error rates.

A sample is lost where the version in service is right and the canary is wrong, won where it is the other way round.
For a network without right answers, an answer that is too far from that of the version in service is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai102.judging.error_rates import PASSES, SHARES
from ai102.judging.sequential import Floats, Ints, balance_limit, least_lost, log_wealth, pass_limits, smallest_rate

Flags = NDArray[np.bool_]
# The drop, as a share of all samples, that a judgement excludes before it promotes.
EXCLUDED_DROP = 0.021
OPEN, STOP, PASS = 0, 1, 2


@dataclass(frozen=True)
class Rule:
    """The tests of one network's answers; they are fixed before the canary is asked."""

    size: int  # samples
    excluded_drop: float  # a canary that loses so much, net, is promoted with a probability of at most 5 %
    few_lost: Ints  # [size + 1]: with at most so many lost among the first t the drop is excluded; -1: never
    few_lost_beta: float
    balance: float  # of all samples: the limit of (lost - won) / sqrt(lost + won)
    balance_alpha: float
    look_alpha: float  # of the bets, which stop at any time
    look_beta: float

    @property
    def smallest_stopped(self) -> float:
        """The smallest drop that is stopped with a probability of 95 %, where nothing is won."""
        return smallest_rate(least_lost(self.balance), self.size, 0.95)


def rule(size: int, share: float = 1.0) -> Rule:
    """The rule for `size` samples; `share` is the part of the wrong stops that this network may cause.

    Where the samples are too few to exclude EXCLUDED_DROP, the drop that they can exclude takes its place.
    """
    beta = PASSES["few lost"]
    # Without one lost answer, a rate of this size is excluded just so.
    excluded = max(EXCLUDED_DROP, 1.02 * (1 - beta ** (1 / size)))
    few_lost, exact_beta = pass_limits(size, excluded / 5, excluded, beta)
    limit, alpha = balance_limit(size, SHARES["balance at the end"] * share)
    look_alpha = SHARES["balance at every look"] * share
    return Rule(size, excluded, few_lost, exact_beta, limit, alpha, look_alpha, PASSES["balance"])


def decide(rule: Rule, lost: Flags, won: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """STOP, PASS or OPEN after the samples so far, and after how many it was decided.

    `lost` and `won` are [..., samples], in the random order in which they were asked, at most rule.size of them.
    What stops goes before what passes.
    """
    asked = lost.shape[-1]
    net: Floats = lost.astype(np.float64) - won
    stops = log_wealth(net, 0.0, -1.0) >= -np.log(rule.look_alpha)
    passes = log_wealth(-net, -rule.excluded_drop, -1.0) >= -np.log(rule.look_beta)
    passes |= lost.cumsum(axis=-1) <= rule.few_lost[1 : asked + 1]
    if asked == rule.size:
        differing = np.maximum((lost | won).sum(axis=-1), 1)
        stops[..., -1] |= net.sum(axis=-1) >= rule.balance * np.sqrt(differing) - 1e-9
    has_stopped, has_passed = stops.any(axis=-1), passes.any(axis=-1)
    state = np.where(has_stopped, STOP, np.where(has_passed, PASS, OPEN))
    at = np.where(has_stopped, stops.argmax(axis=-1), np.where(has_passed, passes.argmax(axis=-1), asked - 1)) + 1
    return state, at
