"""Quantiles of a histogram's buckets, as PromQL's histogram_quantile computes them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def quantile(q: float, buckets: Mapping[float, float]) -> float | None:
    """The value below which the share `q` of the observations lies; None where there are none.

    `buckets`: {upper bound: observations up to it}, cumulative, with the bound +Inf. Within a bucket the observations
    are taken as evenly spread; above the last finite bound that bound is given.
    """
    bounds = sorted(buckets)
    if not bounds or bounds[-1] != math.inf:
        return None
    total = buckets[math.inf]
    if total <= 0:
        return None
    rank, lower, below = q * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            break
        lower, below = bound, buckets[bound]
    if bound == math.inf:
        return lower
    within = buckets[bound] - below
    return bound if within <= 0 else lower + (bound - lower) * (rank - below) / within
