"""The health check asks models by their warm-up data or by what their first step takes, and says what is wrong."""

import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ai102_runtime import health

WARM = {
    "name": "digits",
    "max_batch_size": 64,
    "input": [{"name": "pixels", "data_type": "TYPE_UINT8", "dims": ["1", "2", "2"]}],
    "model_warmup": [
        {"inputs": {"pixels": {"data_type": "TYPE_UINT8", "dims": ["1", "2", "2"], "input_data_file": "pixels"}}}
    ],
}
PIPELINE = {
    "name": "classify",
    "max_batch_size": 64,
    "input": [{"name": "image", "data_type": "TYPE_STRING", "dims": ["1"]}],
    "parameters": {"steps": {"string_value": json.dumps([{"kind": "decode_image"}, {"kind": "onnx"}])}},
}
SEALED = {"name": "sealed", "input": [{"name": "envelope", "data_type": "TYPE_STRING", "dims": ["1"]}]}


class Triton(ThreadingHTTPServer):
    """Answers /config with what it is given, takes note of inferences, and fails those of `broken`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.configs: dict[str, Any] = {}
        self.requests: list[tuple[str, bytes]] = []
        self.broken = ""


class Handler(BaseHTTPRequestHandler):
    server: Triton

    def do_GET(self) -> None:
        _, _, _, model, what = self.path.split("/")
        self.server.requests.append((f"{model} {what}", b""))
        self._answer(200, json.dumps(self.server.configs[model]).encode())

    def do_POST(self) -> None:
        model = self.path.split("/")[3]
        self.server.requests.append((f"{model} infer", self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(500 if model == self.server.broken else 200, b'{"error":"stub process died"}')

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Not in the test's output."""


@pytest.fixture
def triton() -> Iterator[Triton]:
    with Triton() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def repository(tmp_path: Path, triton: Triton, monkeypatch: pytest.MonkeyPatch) -> Path:
    for config in (WARM, PIPELINE, SEALED):
        (tmp_path / config["name"] / "warmup").mkdir(parents=True)
        (tmp_path / config["name"] / "config.pbtxt").touch()
        triton.configs[config["name"]] = config
    (tmp_path / "digits" / "warmup" / "pixels").write_bytes(b"\1\2\3\4")
    monkeypatch.setenv("AI102_HEALTH_URL", f"http://127.0.0.1:{triton.server_port}")
    return tmp_path


def test_models_with_a_sample_get_an_inference_and_the_others_are_asked_whether_they_are_ready(
    triton: Triton, repository: Path
) -> None:
    assert health.main(["models", str(repository)]) == 0
    asked = [what for what, _ in triton.requests if not what.endswith("config")]
    assert asked == ["classify infer", "digits infer", "sealed ready"]


def test_an_inference_carries_the_warm_up_data(triton: Triton, repository: Path) -> None:
    health.main(["models", str(repository)])
    body = next(body for what, body in triton.requests if what == "digits infer")
    header = json.loads(body[:-4])
    assert body[-4:] == b"\1\2\3\4"
    assert header["inputs"] == [
        {"name": "pixels", "shape": [1, 1, 2, 2], "datatype": "UINT8", "parameters": {"binary_data_size": 4}}
    ]


def test_a_pipeline_for_images_gets_a_picture_that_can_be_read(triton: Triton, repository: Path) -> None:
    health.main(["models", str(repository)])
    body = next(body for what, body in triton.requests if what == "classify infer")
    picture = body[-len(health.PNG) :]
    assert struct.unpack("<I", body[-len(picture) - 4 : -len(picture)]) == (len(picture),)
    assert Image.open(BytesIO(picture)).size == (1, 1)


def test_a_model_whose_process_died_is_unhealthy_with_its_reason(
    triton: Triton, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.broken = "classify"
    assert health.main(["models", str(repository)]) == 1
    assert capsys.readouterr().out.endswith('/v2/models/classify/infer: 500 {"error":"stub process died"}\n')


def test_a_file_that_is_not_written_any_more_is_unhealthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "positions.json"
    missing = health.main(["recent", str(file), "60"])
    file.touch()
    fresh = health.main(["recent", str(file), "60"])
    os.utime(file, (time.time() - 90, time.time() - 90))
    assert (missing, fresh, health.main(["recent", str(file), "60"])) == (1, 0, 1)
    assert "written 90 s ago, wanted within 60 s" in capsys.readouterr().out


def test_warm_up_data_of_another_size_is_not_sent(triton: Triton, repository: Path) -> None:
    (repository / "digits" / "warmup" / "pixels").write_bytes(b"\1")
    assert health.sample_of(WARM, repository / "digits") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "http://127.0.0.1:9"], "http://127.0.0.1:9: "),
        (["models", "/nonexistent"], "/nonexistent: has no model"),
        (["look"], "usage: "),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health.main(arguments) == 1
    out = capsys.readouterr().out
    assert out.startswith(message)
    assert out.count("\n") == 1
