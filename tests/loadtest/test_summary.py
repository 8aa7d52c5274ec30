"""The run's summary."""

import json

import pytest

from loadtest.slo import Gate, Row
from loadtest.summary import summary, text_of, three_digits

ROW = Row("grpc", "images", 1000, 10, 99.0, 3.0, 2.0, 5.0, 20.0, 41.0)
SILENT = Row("http", "texts", 7, 7, 0.0, None, None, None, None, None)
NONE = {"counts": {}, "errors": [], "load": {}, "servers": {}, "seconds": 0.0}


def test_a_value_that_was_not_measured_has_a_reason() -> None:
    expected = [("grpc", "images"), ("http", "texts"), ("http", "images")]
    gates = [Gate("p99", "little", "much", False)]
    values = summary(rows=[ROW, SILENT], gates=gates, expected=expected, **NONE)
    assert values["verdict"] == "failed"
    assert values["results"]["grpc images"]["error_percent"] == 1.0
    assert values["results"]["http texts"]["p99_ms"] == "not measured: no answer"
    assert values["results"]["http images"] == "not measured: no request was sent"


def test_a_run_that_never_started_has_no_figures() -> None:
    values = summary(rows=[], gates=[], expected=[("grpc", "images")], reason="no run was started", **NONE)
    reason = "not measured: no run was started"
    assert [values[key] for key in ("verdict", "seconds", "counts")] == [reason] * 3
    assert values["results"] == {"grpc images": reason}


def test_it_names_machine_and_versions_and_is_json() -> None:
    values = json.loads(text_of(summary(rows=[ROW], gates=[], expected=[], **NONE)))
    assert values["machine"]["cores"] >= 1
    assert {"python", "locust", "grpcio", "urllib3", "tritonclient"} <= values["versions"].keys()


@pytest.mark.parametrize(
    ("time_ms", "kept"), [(0.0, 0.0), (0.0712345, 0.0712), (2.7183, 2.72), (104.4, 104.0), (10449.0, 10400.0)]
)
def test_a_time_is_kept_to_three_digits(time_ms: float, kept: float) -> None:
    assert three_digits(time_ms) == kept
