"""The queries by which replicas are added, as Prometheus answers them, with figures that can be checked by head."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ai102.kubernetes.scaling import ARRIVALS, IN_FLIGHT
from tests.kubernetes.kustomized import program_of

EVERY_S = 5
# One replica carries 100 calls a second, and 4 are in flight then.
CAPACITIES = (
    ('contract:capacity:rate{pipeline="p"}', "100x60"),
    ('contract:capacity:in_flight{pipeline="p"}', "4x60"),
    ('contract:capacity:rate{pipeline="q"}', "10x60"),
    ('contract:capacity:in_flight{pipeline="q"}', "1x60"),
)
CALLS = 'ai102_gateway_requests_total{{instance="{gateway}", pipeline="{pipeline}", outcome="{outcome}"}}'
UNDER_WAY = 'ai102_gateway_in_flight{{instance="{gateway}", pipeline="{pipeline}"}}'


def calls(values: str, pipeline: str = "p", gateway: str = "a", outcome: str = "ok") -> tuple[str, str]:
    return CALLS.format(gateway=gateway, pipeline=pipeline, outcome=outcome), values


def under_way(values: str, pipeline: str = "p", gateway: str = "a") -> tuple[str, str]:
    return UNDER_WAY.format(gateway=gateway, pipeline=pipeline), values


def answer(series: tuple[tuple[str, str], ...], at_s: int, query: str, value: float | None, folder: Path) -> str:
    """What promtool says; empty when the query has that value, and no value for None."""
    expected: list[dict[str, Any]] = [] if value is None else [{"labels": "{}", "value": value}]
    rows = [{"series": name, "values": values} for name, values in (*CAPACITIES, *series)]
    test = {
        "interval": f"{EVERY_S}s",
        "input_series": rows,
        "promql_expr_test": [{"expr": f"round({query}, 0.01)", "eval_time": f"{at_s}s", "exp_samples": expected}],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "5s", "tests": [test]}), encoding="utf-8")
    command = [program_of("prometheus", "promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    ("what", "series", "at_s", "value"),
    [
        ("60 calls a second are 0.6 of a replica", (calls("0+300x60"), under_way("2x60")), 60, 0.6),
        (
            "two gateways and two pipelines add up",
            (
                calls("0+150x60"), calls("0+150x60", gateway="b"), under_way("1x60"), under_way("1x60", gateway="b"),
                calls("0+25x60", pipeline="q"), under_way("1x60", pipeline="q"),
            ),
            60, 1.1,
        ),
        (
            "a refused call is no work",
            (calls("0+300x60", outcome="refused"), calls("0x60"), under_way("0x60")), 60, 0.0,
        ),
        # 60 a second, from 50 s on 300: the second scrape after that has seen nothing else.
        ("a step shows within two scrapes", (calls("0+300x10 4500+1500x60"), under_way("2x60")), 60, 3.0),
        # 100 a second end and 100 more wait each second: twice what ends.
        ("what waits counts too", (calls("0+500x60"), under_way("0+500x60")), 60, 2.0),
        ("a gateway that nobody reaches is no value", (calls("0+300x5 stale"), under_way("2x5 stale")), 120, None),
    ],
)  # fmt: skip
def test_arrivals_are_counted_in_replicas(
    what: str, series: tuple[tuple[str, str], ...], at_s: int, value: float | None, tmp_path: Path
) -> None:
    assert answer(series, at_s, ARRIVALS, value, tmp_path) == "", what


@pytest.mark.parametrize(
    ("what", "series", "at_s", "value"),
    [
        ("as many as at full load", (under_way("3x60"), under_way("1x60", gateway="b")), 30, 1.0),
        ("pipelines add up", (under_way("2x60"), under_way("2x60", pipeline="q")), 30, 2.5),
        ("a gateway that nobody reaches is no value", (under_way("2x3 stale"),), 120, None),
    ],
)
def test_calls_in_flight_are_counted_in_replicas(
    what: str, series: tuple[tuple[str, str], ...], at_s: int, value: float | None, tmp_path: Path
) -> None:
    assert answer(series, at_s, IN_FLIGHT, value, tmp_path) == "", what
