"""Records of answers: what is in them, and that a gate that is gone, slow or full harms nobody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102.judging.live.record import batch_of
from ai102_runtime.recording import (
    GATES_OWN,
    MOST_ROWS,
    SKETCH,
    Recorder,
    id_of,
    recorder_from_environment,
    rows_of,
    sketches,
)
from tests.ports import free_port

LABELS = frozenset([b"cat", b"dog"])
WITHIN_S = 10


class Request:
    """What Triton's Python backend gives of a request."""

    def __init__(self, request_id: str = "", **parameters: Any) -> None:
        self.text = json.dumps(({"x-request-id": request_id} if request_id else {}) | parameters)

    def parameters(self) -> str:
        return self.text

    def request_id(self) -> str:
        return "of-the-sealed-model"


class Gate(BaseHTTPRequestHandler):
    batches: list[list[dict[str, Any]]]
    status = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.batches.append([json.loads(line) for line in body.splitlines()])
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@contextmanager
def gate(status: int = 204) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    handler = type("OneGate", (Gate,), {"batches": [], "status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/answers", handler.batches  # type: ignore[attr-defined]
        server.shutdown()


def until(is_so: Callable[[], bool]) -> None:
    deadline, tick = time.monotonic() + WITHIN_S, threading.Event()
    while not is_so():
        assert time.monotonic() < deadline
        tick.wait(0.01)


def labelled(label: bytes = b"cat", score: float = 0.75) -> dict[str, Any]:
    return {"label": np.array([[label]], object), "score": np.array([[score]], np.float32)}


def test_records_come_in_their_order_with_the_pod_and_the_model() -> None:
    with gate() as (url, batches):
        recorder = Recorder(url, "label_pet", "triton-7c9d-x2x4z", LABELS, every_s=0.02)
        for number in range(1200):
            recorder.answered(Request(f"id-{number}"), labelled())
        recorder.failed(Request("bad"), "refused")
        recorder.close()
    heads = [batch[0] for batch in batches]
    records = [record for batch in batches for record in batch[1:]]
    assert {(head["host"], head["model"], head["dropped"]) for head in heads} == {("triton-7c9d-x2x4z", "label_pet", 0)}
    assert [record["id"] for record in records] == [*(f"id-{number}" for number in range(1200)), "bad"]
    assert records[0] == {"id": "id-0", "model": "label_pet", "rows": [["cat", 0.75, None]]}
    assert records[-1] == {"id": "bad", "model": "label_pet", "error": "refused"}
    assert max(map(len, batches)) <= 501


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request("a1"), "a1"),
        (Request(**{"X-Request-ID": "a2"}), "a2"),
        # What a sealed model asks inside the server: Triton's own id and no header.
        (Request(), ""),
        (Request(GATES_OWN), ""),
        (Request("x" * 65), ""),
        (Request(**{"x-request-id": 7}), ""),
        (Request(**{"x-request-id": " "}), ""),
        (Request('q"\\~'), ""),
    ],
)
def test_the_id_is_the_header_and_what_has_none_is_not_recorded(request_: Request, expected: str) -> None:
    assert id_of(request_) == expected


def test_a_header_that_is_no_text_is_not_recorded() -> None:
    class Broken:
        def parameters(self) -> str:
            return b"\xff".decode()

    assert id_of(Broken()) == ""


OUTPUTS: dict[str, tuple[dict[str, Any], frozenset[bytes], list[list[Any]]]] = {
    "label and score": (labelled(), LABELS, [["cat", 0.75, None]]),
    "scores of all labels": ({"scores": np.array([[0.25, 0.75]], np.float32)}, LABELS, [["1", 0.75, None]]),
    "NaN": ({"scores": np.array([[np.nan, 0.75]], np.float32)}, LABELS, [["not finite", None, None]]),
    "scores out of range": ({"score": np.array([[-1e30]], np.float32)}, LABELS, [[None, -1e9, None]]),
    "an infinite score": ({"score": np.array([[np.inf]], np.float32)}, LABELS, [[None, None, None]]),
    "a text of the caller": ({"text": np.array([[b"cat"]], object)}, frozenset(), [["crc32 9e5e43a8", None, None]]),
    "labels of tokens": ({"label": np.array([[b"cat", b"dog"]], object)}, LABELS, [["crc32 6ef44cf1", None, None]]),
    "an embedding of zeros": ({"vector": np.zeros((1, 3), np.float32)}, frozenset(), []),
    "no rows": ({"vector": np.zeros((0, 3), np.float32)}, frozenset(), []),
    "a truth value": ({"truncated": np.array([[True]])}, frozenset(), []),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_record_has_labels_and_scores_and_no_text_of_the_caller(name: str) -> None:
    outputs, labels, expected = OUTPUTS[name]
    rows = rows_of(outputs, labels, has_batch=True)
    assert json.loads(json.dumps(rows, allow_nan=False)) == (expected or rows)
    if not expected:
        assert all(value is None for row in rows for value in row)


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_gate_takes_every_record(name: str) -> None:
    outputs, labels, _ = OUTPUTS[name]
    with gate() as (url, batches):
        recorder = Recorder(url, "m", "triton-7c9d-x2x4z", labels, every_s=60)
        recorder.answered(Request("a"), outputs)
        recorder.close()
    body = "\n".join(json.dumps(line) for line in batches[0]).encode()
    batch = batch_of(body)
    assert (batch.model, len(batch.records)) == ("m", 1)
    assert batch.resident_bytes > 1_000_000


def test_a_process_without_calls_says_its_memory() -> None:
    with gate() as (url, batches):
        recorder = Recorder(url, "m", "triton-7c9d-x2x4z", every_s=0.02)
        until(lambda: len(batches) >= 3)
        recorder.close()
    assert all(batch[0]["resident_bytes"] > 1_000_000 and len(batch) == 1 for batch in batches)


def test_of_a_batch_the_first_rows_are_recorded_and_without_one_there_is_one() -> None:
    scores = np.eye(20, dtype=np.float32)
    assert [row[0] for row in rows_of({"scores": scores}, LABELS, has_batch=True)] == [
        str(number) for number in range(MOST_ROWS)
    ]
    assert len(rows_of({"vector": np.ones(384, np.float32)}, frozenset(), has_batch=False)) == 1


def test_two_sketches_say_the_cosine_of_two_embeddings() -> None:
    random = np.random.default_rng(5)
    first = random.standard_normal((500, 384)).astype(np.float32)
    second = first + 0.3 * random.standard_normal(first.shape).astype(np.float32)
    cosines = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    one, other = np.array(sketches(first)), np.array(sketches(3 * second))
    assert one.shape == (500, SKETCH)
    estimated = ((one - other) ** 2).sum(axis=1) / 2
    ratio = estimated / (1 - cosines)
    assert abs(ratio.mean() - 1) < 0.05
    assert abs(ratio.std() - np.sqrt(2 / SKETCH)) < 0.05
    assert (ratio > 2.5).mean() <= 0.01
    assert np.array(sketches(np.eye(384, dtype=np.float32)[:1])).tolist()[0][:4] == [-0.25, 0.25, -0.25, -0.25]


def test_a_gate_that_is_gone_costs_the_records_and_its_return_says_how_many() -> None:
    port = free_port()
    recorder = Recorder(f"http://127.0.0.1:{port}/answers", "m", "pod", LABELS, every_s=0.02)
    for number in range(700):
        recorder.answered(Request(str(number)), labelled())
    until(lambda: recorder.dropped == 700)
    with gate() as (url, batches):
        recorder.address = url.split("/")[2]
        recorder.answered(Request("later"), labelled())
        recorder.close()
    assert batches[0][0]["dropped"] == 700
    assert recorder.dropped == 0


def test_a_gate_that_refuses_costs_the_records() -> None:
    with gate(status=400) as (url, batches):
        recorder = Recorder(url, "m", "pod", LABELS, every_s=0.02)
        recorder.answered(Request("a"), labelled())
        until(lambda: recorder.dropped == 1)
        recorder.close()
    assert len([batch for batch in batches if len(batch) > 1]) == 1


def test_what_a_full_queue_has_no_place_for_is_dropped_at_once() -> None:
    with gate() as (url, batches):
        recorder = Recorder(url, "m", "pod", LABELS, most_waiting=10, every_s=60)
        began = time.perf_counter()
        for number in range(5000):
            recorder.answered(Request(str(number)), labelled())
        assert time.perf_counter() - began < 2
        recorder.close()
    assert [batch[0]["dropped"] for batch in batches] == [4990]
    assert [record["id"] for record in batches[0][1:]] == [str(number) for number in range(10)]


def test_without_the_setting_nothing_is_recorded_and_no_thread_runs(tmp_path: Path) -> None:
    before = threading.active_count()
    assert recorder_from_environment({}, "m", tmp_path / "labels.txt", has_batch=True) is None
    assert threading.active_count() == before


def test_a_setting_that_is_no_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"AI102_ANSWERS_URL is 'gate:8096', wanted http://HOST:PORT/answers"):
        recorder_from_environment({"AI102_ANSWERS_URL": "gate:8096"}, "m", tmp_path, has_batch=True)
