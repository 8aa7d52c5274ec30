"""Which call a row of the access log is, and how it ended."""

from typing import Any

import pytest

from ai102.access_log.outcomes import UnreadableRowError, call_from_row
from tests.access_log.rows import GOALS_MS, HAPROXY_REST, OUTCOMES


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_way_to_end_is_counted_as_what_it_is(name: str) -> None:
    row, change, outcome = OUTCOMES[name]
    call = call_from_row(row | change, GOALS_MS)
    assert call is not None
    assert (call.pipeline, call.protocol, call.outcome) == ("classify_image", row["protocol"], outcome)


@pytest.mark.parametrize(
    "change", [{"model": "hidden"}, {"model": ""}, {"model": "x" * 128}, {"verb": "describe"}, {"verb": ""}]
)
def test_what_is_no_inference_with_a_pipeline_is_other(change: dict[str, str]) -> None:
    call = call_from_row(HAPROXY_REST | change, GOALS_MS)
    assert call is not None
    assert call.pipeline == "other"


@pytest.mark.parametrize(
    "name", ["a caller who left when it was too late", "a caller who left when it was too late, nginx"]
)
def test_a_caller_who_follows_its_jobs_is_never_too_late(name: str) -> None:
    row, change, _ = OUTCOMES[name]
    call = call_from_row(row | change | {"verb": "own", "model": "", "milliseconds": {"all": 600_000}}, GOALS_MS)
    assert call is not None
    assert (call.pipeline, call.outcome) == ("other", "cancelled")


def test_a_connection_without_a_request_is_no_call() -> None:
    row = {"time": "2026-11-28T18:00:00Z", "protocol": "rest", "status": 0, "refused": "no request", "end": "CR--"}
    assert call_from_row(row, GOALS_MS) is None


@pytest.mark.parametrize(
    "row",
    [
        {"id": "1"},
        HAPROXY_REST | {"protocol": "smtp"},
        HAPROXY_REST | {"model": []},
        HAPROXY_REST | {"milliseconds": 8},
        HAPROXY_REST | {"status": "x"},
    ],
)
def test_a_row_of_another_form_is_unreadable(row: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRowError, match="no row of the access log"):
        call_from_row(row, GOALS_MS)
