"""The goals of a run."""

from dataclasses import replace

import pytest

from loadtest.slo import Goals, Row, gates

IMAGES = Row("grpc", "images", 1000, 10, 99.0, 3.0, 2.0, 5.0, 20.0, 41.0)
TEXTS = Row("http", "texts", 500, 0, 50.0, 30.0, 20.0, 50.0, 80.0, 90.0)
SILENT = Row("http", "texts", 500, 500, 0.0, None, None, None, None, None)
BOTH = [("grpc", "images"), ("http", "texts")]
P99 = {"images": 20.0, "texts": 100.0}


@pytest.mark.parametrize(
    ("rows", "goals", "missed"),
    [
        ([IMAGES, TEXTS], Goals(P99, 1.0, 149.0), []),
        (
            [IMAGES, TEXTS],
            Goals(P99 | {"images": 19.9}, None, None),
            ["SLO MISSED: p99 of images over grpc: 20 ms, goal at most 19.9 ms"],
        ),
        (
            [IMAGES, TEXTS],
            Goals(P99, 0.5, None),
            ["SLO MISSED: failed requests: 0.667 % (10 of 1500), goal at most 0.5 %"],
        ),
        (
            [IMAGES, TEXTS],
            Goals(P99, None, 150.0),
            ["SLO MISSED: good answers: 149.0 per second, goal at least 150 per second"],
        ),
        (
            [IMAGES],
            Goals(P99, None, None),
            ["SLO MISSED: p99 of texts over http: not measured: no request was sent, goal at most 100 ms"],
        ),
        (
            [IMAGES, SILENT],
            Goals(P99, None, None),
            ["SLO MISSED: p99 of texts over http: not measured: no answer, goal at most 100 ms"],
        ),
        (
            [replace(IMAGES, requests=60, failures=0)],
            Goals({"images": 5.0}, None, None),
            ["SLO MISSED: p99 of images over grpc: 20 ms, the slowest of 60, goal at most 5 ms"],
        ),
        (
            [],
            Goals({}, 1.0, 5.0),
            [
                "SLO MISSED: failed requests: not measured: no request was sent, goal at most 1 %",
                "SLO MISSED: good answers: not measured: no request was sent, goal at least 5 per second",
            ],
        ),
    ],
)
def test_a_missed_goal_shows_the_measurement_and_the_goal(rows: list[Row], goals: Goals, missed: list[str]) -> None:
    expected = [target for target in BOTH if target[1] in goals.p99_ms]
    assert [str(gate) for gate in gates(rows, expected, goals) if not gate.passed] == missed


def test_every_goal_has_a_gate() -> None:
    checked = gates([IMAGES, TEXTS], BOTH, Goals(P99, 1.0, 100.0))
    assert [gate.what for gate in checked] == [
        "p99 of images over grpc",
        "p99 of texts over http",
        "failed requests",
        "good answers",
    ]
