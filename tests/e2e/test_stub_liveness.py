"""The liveness probe against a real tritonserver: a process of a Python model that is killed, stopped, or only busy."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from ai102_runtime.health import command
from ai102_runtime.health.processes import stubs_of
from tests.e2e.conftest import write_repository
from tests.gateway.conftest import wait_until
from tests.servers import Server

pytestmark = pytest.mark.e2e

# A first byte of 9 makes it take half a second, 7 six seconds; 8 is an error of the model.
CODE = """
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            if tensor[0] == 8:
                raise ValueError("it is eight")
            time.sleep({7: 6, 9: 0.5}.get(int(tensor[0]), 0))
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", tensor)]))
        return answers
"""
CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 0
input {{ name: "IN" data_type: TYPE_UINT8 dims: 4 }}
output {{ name: "OUT" data_type: TYPE_UINT8 dims: 4 }}
instance_group {{ count: {count} kind: KIND_CPU }}
model_warmup {{
  name: "sample"
  inputs {{ key: "IN" value {{ data_type: TYPE_UINT8 dims: 4 input_data_file: "in" }} }}
}}
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves `one` with one process and `two` with two."""
    models = {
        name: {"config.pbtxt": CONFIG.format(name=name, count=count), "1/model.py": CODE, "warmup/in": b"\1\2\3\4"}
        for name, count in (("one", 1), ("two", 2))
    }
    repository = write_repository(tmp_path / "repository", models)
    monkeypatch.setenv("AI102_HEALTH_WITHIN_S", "2")
    with Server(repository, http_port=0, grpc_port=0, metrics_port=0, log=tmp_path / "log") as server:
        monkeypatch.setenv("AI102_HEALTH_URL", f"http://{server.http_url}")
        yield server


def probe(server: Server) -> int:
    return command.main(["models", str(server.repository), "--every-stub"])


def process_of(server: Server, instance: str) -> int:
    """The number of the process of an instance, such as two_0_1."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or ()
        if len(words) > 8 and str(server.repository) in words[1] and words[8] == instance:
            return int(process.pid)
    raise AssertionError(f"no process of {instance}")


def test_a_server_whose_processes_work_is_alive(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert stubs_of(server.repository).running == ("one_0_0", "two_0_0", "two_0_1")
    assert (probe(server), capsys.readouterr().out) == (0, "")


@pytest.mark.parametrize(("instance", "why"), [("one_0_0", "0 of 1"), ("two_0_1", "1 of 2")])
def test_a_process_that_was_killed_is_named_within_seconds(
    instance: str, why: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    model = instance.partition("_")[0]
    os.kill(process_of(server, instance), signal.SIGKILL)
    wait_until(lambda: len(stubs_of(server.repository).dead) == 1, "it is dead")
    assert httpx.get(f"http://{server.http_url}/v2/models/{model}/ready", trust_env=False).status_code == 200
    began = time.monotonic()
    assert probe(server) == 1
    assert time.monotonic() - began < 10
    assert f"{model}: {why} processes of {model}_0 run" in capsys.readouterr().out


def test_a_process_that_is_stopped_is_dead(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    stub = process_of(server, "one_0_0")
    os.kill(stub, signal.SIGSTOP)
    try:
        assert probe(server) == 1
    finally:
        os.kill(stub, signal.SIGKILL)  # Triton would wait for it when it stops
    assert "Stub process 'one_0_0' is not healthy" in capsys.readouterr().out


def test_a_process_that_hangs_takes_nothing_from_its_queue(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    sample_of(server, b"\7\2\3\4")
    assert (probe(server), capsys.readouterr().out) == (1, "one: took nothing from its queue for 2 s\n")


def test_a_model_whose_queue_is_long_is_busy_and_alive(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with asked_again_and_again(server, "one", 9):
        assert (probe(server), capsys.readouterr().out) == (0, "one: busy: no answer in 2 s\n")


def test_a_model_that_raises_is_alive(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    sample_of(server, b"\x08\2\3\4")
    assert (probe(server), capsys.readouterr().out) == (0, "")


def sample_of(server: Server, content: bytes) -> None:
    """What the probe asks the model one."""
    (server.repository / "one" / "warmup" / "in").write_bytes(content)


@contextmanager
def asked_again_and_again(server: Server, model: str, first: int) -> Iterator[None]:
    """Ten callers, so that the model always has a queue of some five seconds."""
    stop, waiting = threading.Event(), threading.Semaphore(0)
    tensor = {"name": "IN", "datatype": "UINT8", "shape": [4], "data": [first, 0, 0, 0]}

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not stop.is_set():
                waiting.release()
                client.post(f"http://{server.http_url}/v2/models/{model}/infer", json={"inputs": [tensor]})

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(len(threads) + 2):  # two were answered, so all have asked
            assert waiting.acquire(timeout=30)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
