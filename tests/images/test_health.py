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

from ai102_runtime.health import command, processes, samples
from ai102_runtime.health.asking import UnhealthyError
from ai102_runtime.health.every_stub import check_every_stub

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
        self.broken, self.error = "", b'{"error":"stub process died"}'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Triton

    def do_GET(self) -> None:
        _, _, _, model, what = self.path.split("/")
        self.server.requests.append((f"{model} {what}", b""))
        row = {"execution_count": 0, "inference_stats": {"fail": {"count": 0}}}
        content = {"model_stats": [row]} if what == "stats" else self.server.configs[model]
        self._answer(200, json.dumps(content).encode())

    def do_POST(self) -> None:
        model = self.path.split("/")[3]
        self.server.requests.append((f"{model} infer", self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(500 if model == self.server.broken else 200, self.server.error)

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
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
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
    monkeypatch.setenv("AI102_HEALTH_URL", triton.url)
    return tmp_path


def test_models_with_a_sample_get_an_inference_and_the_others_are_asked_whether_they_are_ready(
    triton: Triton, repository: Path
) -> None:
    assert command.main(["models", str(repository)]) == 0
    asked = [what for what, _ in triton.requests if not what.endswith("config")]
    assert asked == ["classify infer", "digits infer", "sealed ready"]


def test_an_inference_carries_the_warm_up_data(triton: Triton, repository: Path) -> None:
    command.main(["models", str(repository)])
    body = next(body for what, body in triton.requests if what == "digits infer")
    header = json.loads(body[:-4])
    assert body[-4:] == b"\1\2\3\4"
    assert header["inputs"] == [
        {"name": "pixels", "shape": [1, 1, 2, 2], "datatype": "UINT8", "parameters": {"binary_data_size": 4}}
    ]


def test_a_pipeline_for_images_gets_a_picture_that_can_be_read(triton: Triton, repository: Path) -> None:
    command.main(["models", str(repository)])
    body = next(body for what, body in triton.requests if what == "classify infer")
    picture = body[-len(samples.PNG) :]
    assert struct.unpack("<I", body[-len(picture) - 4 : -len(picture)]) == (len(picture),)
    assert Image.open(BytesIO(picture)).size == (1, 1)


def test_a_model_whose_process_died_is_unhealthy_with_its_reason(
    triton: Triton, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    triton.broken = "classify"
    assert command.main(["models", str(repository)]) == 1
    assert capsys.readouterr().out.endswith('/v2/models/classify/infer: 500 {"error":"stub process died"}\n')


def test_a_file_that_is_not_written_any_more_is_unhealthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "positions.json"
    missing = command.main(["recent", str(file), "60"])
    file.touch()
    fresh = command.main(["recent", str(file), "60"])
    os.utime(file, (time.time() - 90, time.time() - 90))
    assert (missing, fresh, command.main(["recent", str(file), "60"])) == (1, 0, 1)
    assert "written 90 s ago, wanted within 60 s" in capsys.readouterr().out


def test_warm_up_data_of_another_size_is_not_sent(triton: Triton, repository: Path) -> None:
    (repository / "digits" / "warmup" / "pixels").write_bytes(b"\1")
    assert samples.sample_of(WARM, repository / "digits") == {}


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
    assert command.main(arguments) == 1
    out = capsys.readouterr().out
    assert out.startswith(message)
    assert out.count("\n") == 1


def test_a_stub_of_another_server_is_not_looked_at(repository: Path) -> None:
    assert processes.stubs_of(repository) == processes.Stubs()


def test_a_process_that_stays_a_zombie_is_dead_and_the_model_named(triton: Triton, repository: Path) -> None:
    triton.configs["digits"] = WARM | {"backend": "python", "instance_group": [{"name": "digits_0", "count": 2}]}
    looks = iter(
        [processes.Stubs(("digits_0_0",), frozenset({7})), processes.Stubs(("digits_0_0",), frozenset({7, 8}))]
    )
    with pytest.raises(UnhealthyError, match=r"^digits: 1 of 2 processes of digits_0 run$"):
        check_every_stub(repository, triton.url, 2.0, lambda _: next(looks))


def test_a_process_that_is_a_zombie_for_a_moment_is_not(triton: Triton, repository: Path) -> None:
    looks = iter([processes.Stubs((), frozenset({7})), processes.Stubs((), frozenset({8}))])
    assert check_every_stub(repository, triton.url, 2.0, lambda _: next(looks)) == []


def test_an_error_of_a_model_is_no_dead_process_unless_triton_says_so(triton: Triton, repository: Path) -> None:
    triton.broken = "classify"
    assert check_every_stub(repository, triton.url, 0.1) == []
    triton.error = b'{"error":"Stub process \'classify_0_0\' is not healthy."}'
    with pytest.raises(UnhealthyError, match=r"classify/infer: 500 .*Stub process 'classify_0_0' is not healthy"):
        check_every_stub(repository, triton.url, 1.0)
    assert sum(what == "classify infer" for what, _ in triton.requests) > 3
