"""The parts of a request's time, from the moments that client, Triton and its Python process wrote down."""

import json
from pathlib import Path

import pytest

from loadtest.request_path import PARTS, paths, table_of, traced, write_picture

US = 1000
CLIENT = {"sent": 0, "received": 1000 * US}
TRITON = {
    "GRPC_WAITREAD_END": 100 * US,
    "COMPUTE_START": 150 * US,
    "COMPUTE_INPUT_END": 160 * US,
    "INFER_RESPONSE_COMPLETE": 900 * US,
}
PYTHON = {"called": 200 * US, "run": 230 * US, "ran": 800 * US, "returned": 850 * US}


def test_the_parts_of_a_request_are_all_of_its_time() -> None:
    (path,) = paths({"m.grpc.1": CLIENT}, {"m.grpc.1": TRITON}, {"m.grpc.1": PYTHON})
    assert (path.model, path.protocol, path.whole) == ("m", "grpc", 1000.0)
    assert list(path.parts.values()) == [100.0, 50.0, 10.0, 40.0, 80.0, 570.0, 50.0, 100.0]
    assert sum(path.parts.values()) == path.whole


def test_a_request_without_all_of_its_moments_does_not_count() -> None:
    ids = {"m.grpc.1": CLIENT, "m.grpc.2": CLIENT, "m.http.1": CLIENT}
    assert len(paths(ids, {"m.grpc.1": TRITON, "m.http.1": TRITON}, dict.fromkeys(ids, PYTHON))) == 1


def test_a_trace_is_read_by_request_id(tmp_path: Path) -> None:
    entries = [
        {"id": 1, "timestamps": [{"name": "HTTP_RECV_START", "ns": 5}]},
        {"id": 1, "model_name": "m", "request_id": "a"},
        {"id": 1, "timestamps": [{"name": "COMPUTE_START", "ns": 7}]},
        {"id": 2, "timestamps": [{"name": "COMPUTE_START", "ns": 9}]},
    ]
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(entries))
    assert traced(file) == {"a": {"HTTP_RECV_START": 5, "COMPUTE_START": 7}}


def test_the_table_and_the_picture_have_every_part(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = paths({"m.grpc.1": CLIENT}, {"m.grpc.1": TRITON}, {"m.grpc.1": PYTHON})
    assert table_of(found).row_count == len(PARTS) + 1
    write_picture(found, "a title", tmp_path / "path.png")
    assert (tmp_path / "path.png").stat().st_size > 10_000
