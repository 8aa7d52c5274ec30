"""The liveness check tells a dead or stuck process from a busy one, on a real tritonserver."""

import json
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.e2e.conftest import StartServer
from tests.gateway.conftest import wait_until

from ai102.serve.server import Server
from ai102_runtime.liveness import dead_models

pytestmark = pytest.mark.e2e
CONFIG = """backend: "python"
input [ { name: "seconds" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "seconds" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
# Answers after as many seconds as it is asked for; 1000 stands for a process that is stuck.
SLEEPER = """import time
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            tensor = pb.get_input_tensor_by_name(request, "seconds").as_numpy()
            time.sleep(float(tensor[0]))
            answers.append(pb.InferenceResponse([pb.Tensor("seconds", tensor)]))
        return answers
"""
MODELS = {"sleeper": {"config.pbtxt": CONFIG, "1/model.py": SLEEPER}, "other": {"config.pbtxt": CONFIG, "1/model.py": SLEEPER}}


@pytest.fixture
def server(start_server: StartServer) -> Iterator[Server]:
    running = start_server(MODELS)
    yield running
    running.stop(at_once=True)


def verdicts(server: Server, patience_s: float = 1.0) -> list[str]:
    return dead_models(server.repository, f"http://{server.http_url}", patience_s)


def ask(server: Server, model: str, seconds: float) -> None:
    tensor = {"name": "seconds", "datatype": "FP32", "shape": [1], "data": [seconds]}
    body = json.dumps({"inputs": [tensor]}).encode()
    with suppress(OSError):
        urllib.request.urlopen(f"http://{server.http_url}/v2/models/{model}/infer", body, timeout=60).close()


@contextmanager
def asked(server: Server, model: str, seconds: float, times: int) -> Iterator[None]:
    """With so many requests under way at the server."""
    threads = [threading.Thread(target=ask, args=(server, model, seconds), daemon=True) for _ in range(times)]
    for thread in threads:
        thread.start()
    url = f"http://{server.metrics_url}/metrics"
    pending = f'nv_inference_pending_request_count{{model="{model}",version="1"}} '

    def is_queued() -> bool:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return int(text.partition(pending)[2].split("\n")[0]) >= times - 1

    wait_until(is_queued, "the requests wait in Triton", 20)
    yield


def stub_of(server: Server, model: str) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"stub" in words[0] and str(server.repository / model).encode() in b" ".join(words):
                return int(folder.name)
    raise AssertionError(f"{model} has no process")


def test_models_that_answer_are_alive(server: Server) -> None:
    assert verdicts(server) == []


def test_a_dead_process_is_named_soon_while_triton_calls_it_ready(server: Server) -> None:
    os.kill(stub_of(server, "sleeper"), signal.SIGKILL)
    wait_until(lambda: bool(verdicts(server)), "the dead process is seen", 15)
    (verdict,) = verdicts(server)
    assert verdict.startswith("sleeper: ")
    assert "Stub process" in verdict
    with urllib.request.urlopen(f"http://{server.http_url}/v2/models/sleeper/ready", timeout=10) as answer:
        assert answer.status == 200


def test_a_busy_server_is_alive(server: Server) -> None:
    with asked(server, "sleeper", 0.2, 40):
        assert verdicts(server) == []


def test_a_process_that_runs_nothing_while_a_request_waits_is_stuck(server: Server) -> None:
    with asked(server, "sleeper", 1000, 1):
        assert verdicts(server) == ["sleeper: ran nothing for 1 s while a request waited"]
