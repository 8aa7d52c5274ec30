"""Queries as Grafana sends them: variables replaced, series named."""

import pytest

from ai102.dashboards.queries import filled, legend
from ai102.dashboards.units import worded


@pytest.mark.parametrize(
    ("expression", "sent"),
    [
        ('rate(x{model="$model"}[$__rate_interval])', 'rate(x{model="embed"}[1m])'),
        ('rate(x{model="${model}"}[${__rate_interval}])', 'rate(x{model="embed"}[1m])'),
        ('x{replica=~"$replica",model="$model"}', 'x{replica=~".*",model="embed"}'),
        ("x / 2", "x / 2"),
    ],
)
def test_a_variable_is_its_value_or_all(expression: str, sent: str) -> None:
    assert filled(expression, {"model": "embed"}) == sent


def test_a_series_is_named_by_its_labels() -> None:
    assert (
        legend("p99 {{protocol}} of {{ pipeline }}{{none}}", {"protocol": "rest", "pipeline": "a"}) == "p99 rest of a"
    )


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.9995, "percentunit", "99.95 %"),
        (0.0123, "s", "12.3 ms"),
        (0.000045, "s", "45 us"),
        (2.5, "s", "2.5 s"),
        (1234.5, "reqps", "1,234 /s"),
        (0.25, "reqps", "0.25 /s"),
        (1234567.0, "Bps", "1.23 MB/s"),
        (123456789.0, "bytes", "123 MB"),
        (29.6, "d", "29.6 days"),
        (7.0, "short", "7"),
        (0.0000321, "short", "0.000032"),
    ],
)
def test_a_number_has_its_unit(value: float, unit: str, said: str) -> None:
    assert worded(value, unit) == said
