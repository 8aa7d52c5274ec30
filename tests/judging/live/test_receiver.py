"""POST /answers: what is taken, and what is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from ai102.judging.live.receiver import app_for
from ai102.judging.live.record import MAX_BODY, Batch, Record, Row, shared_id, side_of
from ai102_runtime.recording import MOST_ROWS, MOST_SENT, SKETCH

HEAD = {"host": "triton-7c9d8f6b5-x2x4z", "dropped": 2, "model": "label_pet", "resident_bytes": 1000}
CALL = {"id": "a-1", "model": "classify_image"}
TAKEN: dict[str, tuple[list[Any], tuple[Record, ...]]] = {
    "a label": (
        [{**CALL, "rows": [["seven", 0.9, None]]}],
        (Record("a-1", "classify_image", (Row("seven", 0.9, None),)),),
    ),
    "an error": ([{**CALL, "error": "failed"}], (Record("a-1", "classify_image", (), "failed"),)),
    "no records": ([], ()),
}
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "line 1 is no JSON"),
    "no JSON": (b"{", 400, "line 1 is no JSON"),
    "deep JSON": (b"[" * 100_000, 400, "line 1 is no JSON"),
    "no object": (b"[]", 400, "line 1 is no JSON object"),
    "no host": (b"{}", 400, "line 1: host is missing, or no name of a pod"),
    "a negative count": (json.dumps({**HEAD, "dropped": -1}).encode(), 400, "line 1: dropped is no number of records"),
    "no bytes": (
        json.dumps({**HEAD, "resident_bytes": "many"}).encode(),
        400,
        "line 1: resident_bytes is no number of bytes",
    ),
    "another model": (json.dumps({**HEAD, "model": "a b"}).encode(), 400, "line 1: model is no name of a model"),
    "too many records": (b"\n" * (MOST_SENT + 2), 400, f"{MOST_SENT + 2} records, wanted {MOST_SENT} at most"),
    "too much": (b" " * (MAX_BODY + 1), 413, f"the body has more than {MAX_BODY} bytes"),
}
BAD_RECORDS: dict[str, tuple[Any, str]] = {
    "no id": ({"model": "m"}, "id is missing, or no id of a request"),
    "a long id": ({**CALL, "id": "a" * 65}, "id is missing, or no id of a request"),
    "no model": ({"id": "a"}, "model is missing, or no name of a model"),
    "no rows": (CALL, f"rows is missing, or no list of {MOST_ROWS} at most"),
    "many rows": ({**CALL, "rows": [[None, None, None]] * 9}, f"rows is missing, or no list of {MOST_ROWS} at most"),
    "another error": ({**CALL, "error": "text of the caller"}, "error is none of refused, failed"),
    "a short row": ({**CALL, "rows": [["a"]]}, f"a row is no [label, score, sketch of {SKETCH} numbers]"),
    "a long label": ({**CALL, "rows": [["a" * 65, None, None]]}, "a row is no"),
    "a score of NaN": ({**CALL, "rows": [[None, float("nan"), None]]}, "a row is no"),
    "a huge score": ({**CALL, "rows": [[None, 1e300, None]]}, "a row is no"),
    "a short sketch": ({**CALL, "rows": [[None, None, [1.0]]]}, "a row is no"),
}


@pytest.fixture
def batches() -> list[Batch]:
    return []


@pytest.fixture
def client(batches: list[Batch]) -> TestClient:
    return TestClient(app_for(batches.append))


def lines(*values: Any) -> bytes:
    return "\n".join(json.dumps(value) for value in values).encode()


@pytest.mark.parametrize("name", TAKEN)
def test_records_are_taken(name: str, client: TestClient, batches: list[Batch]) -> None:
    values, records = TAKEN[name]
    assert client.post("/answers", content=lines(HEAD, *values)).status_code == 204
    assert batches == [Batch("triton-7c9d8f6b5-x2x4z", 2, records, "label_pet", 1000)]


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_body_is_refused_in_one_line(name: str, client: TestClient, batches: list[Batch]) -> None:
    body, status, words = REFUSED[name]
    answer = client.post("/answers", content=body)
    assert (answer.status_code, answer.text, batches) == (status, words, [])


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_bad_record_refuses_the_batch_with_its_line(name: str, client: TestClient, batches: list[Batch]) -> None:
    record, words = BAD_RECORDS[name]
    answer = client.post("/answers", content=lines(HEAD, {**CALL, "rows": []}, record))
    assert (answer.status_code, answer.text.startswith(f"line 3: {words}"), batches) == (400, True, []), answer.text


def test_other_paths_and_methods_are_refused(client: TestClient) -> None:
    assert (client.get("/answers").status_code, client.post("/rollout").status_code) == (405, 404)


@pytest.mark.parametrize(
    ("host", "side"),
    [
        ("triton-7c9d8f6b5-x2x4z", "canary"),
        ("triton-primary-7c9d8f6b5-x2x4z", "primary"),
        ("gateway-7c9d8f6b5-x2x4z", None),
        ("triton-replicas-primary-7c9d8f6b5-x2x4z", None),
        ("triton", None),
    ],
)
def test_the_name_of_a_pod_says_the_side(host: str, side: str | None) -> None:
    assert side_of(host, "triton") == side


def test_a_copy_that_another_envoy_traces_has_the_same_id() -> None:
    assert shared_id("1b3e4a5c-0000-9000-8000-00000000000a") == shared_id("1b3e4a5c-0000-4000-8000-00000000000a")
    assert shared_id("1b3e4a5c-0000-9000-8000-00000000000a") != shared_id("1b3e4a5c-0000-9000-8000-00000000000b")
    assert shared_id("an id of a caller's own") == "an id of a caller's own"
