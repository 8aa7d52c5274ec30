"""Quantiles of buckets as PromQL has them; tests/dashboards/test_live.py compares with a real Prometheus."""

import math

import pytest

from ai102.prometheus.quantiles import quantile

BUCKETS = {0.1: 50.0, 0.2: 90.0, 1.0: 99.0, math.inf: 100.0}


@pytest.mark.parametrize(
    ("q", "buckets", "value"),
    [
        (0.5, BUCKETS, 0.1),
        (0.25, BUCKETS, 0.05),
        (0.7, BUCKETS, 0.15),
        (0.99, BUCKETS, 1.0),
        (0.999, BUCKETS, 1.0),
        (0.5, {0.1: 0.0, 0.2: 0.0, math.inf: 5.0}, 0.2),
        (0.5, {0.1: 0.0, math.inf: 0.0}, None),
        (0.5, {0.1: 3.0}, None),
        (0.5, {}, None),
    ],
)
def test_a_quantile_lies_in_its_bucket(q: float, buckets: dict[float, float], value: float | None) -> None:
    assert quantile(q, buckets) == (None if value is None else pytest.approx(value))
