"""What the gateway lets pass, a real Triton reads as the gateway did and survives."""

import json
import random
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.e2e.conftest import StartServer, start_server  # noqa: F401 - a fixture
from tests.gateway.judge_core import core, in_both_luas
from tests.gateway.test_judge_grpc import INFER, frame, mutated, request
from tests.gateway.test_judge_json import INFER as BODIES
from tests.gateway.test_judge_json import LIMITS
from tests.gateway.test_judge_routes import REST
from tests.servers import Server

pytestmark = pytest.mark.e2e

CODE = """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        scores = np.arange(3, dtype=np.float32)
        texts = np.array(["s"], dtype=object)
        tensors = [pb_utils.Tensor("o", scores), pb_utils.Tensor("s", texts)]
        return [pb_utils.InferenceResponse(tensors) for _ in requests]
"""
CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 0
input {{ name: "x" data_type: TYPE_FP32 dims: -1 dims: -1 }}
output {{ name: "o" data_type: TYPE_FP32 dims: 3 }}
output {{ name: "s" data_type: TYPE_STRING dims: 1 }}
instance_group {{ count: 1 kind: KIND_CPU }}
"""
# Ways of writing an address that a router might take for another.
ODD = [
    "/v2/models/a/infer", "/v2/models/a/versions/1/infer", "/v2/models/b/infer", "/v2/models/a/versions/01/infer",
    "/v2/models/%61/infer", "/v2//models/a/infer", "/v2/models/b/../a/infer", "/v2/models/a/infer?/../../b/infer",
    "/v2/models/a;b/infer", "/v2/models/a/infer/", "/v2/models/a%00/infer", "/v2/./models/a/infer",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Iterator[Server]:  # noqa: F811
    files = {name: {"config.pbtxt": CONFIG.format(name=name), "1/model.py": CODE} for name in ("a", "b")}
    server = start_server(files)
    pid = server.pid
    yield server
    assert (server.wait(0), server.pid) == (None, pid), "the server died"
    assert answer(server, "GET", "/v2/health/ready")[0] == 200


def answer(server: Server, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    connection = HTTPConnection(server.http_url, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@in_both_luas
def test_an_address_that_passes_is_the_same_models_to_triton(lua: str, server: Server) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}).encode()
    passed = []
    for path in ODD:
        route = core(lua).ask("rest_route", "POST", path)
        if isinstance(route, dict):
            passed.append(path)
            status, text = answer(server, "POST", path, body)
            assert (status, json.loads(text)["model_name"]) == (200, route["model"])
    assert passed == ODD[:3]


@in_both_luas
def test_every_route_of_tritons_is_one_that_it_knows(lua: str, server: Server) -> None:
    for method, path, expected in REST:
        if isinstance(expected, tuple) and expected[0] == "triton" and "load" not in path:
            status, text = answer(server, method, path)
            assert text not in (b'{"error":"Not Found"}', b'{"error":"Method Not Allowed"}'), (method, path, status)


@in_both_luas
def test_a_body_that_passes_does_not_end_triton(lua: str, server: Server) -> None:
    limits = LIMITS | {"max_elements": 16 << 20}
    passed = 0
    for _, text, _ in BODIES:
        if core(lua).ask("json_problem", text, limits) is None:
            passed += 1
            answer(server, "POST", "/v2/models/a/infer", text)
            assert answer(server, "GET", "/v2/health/live")[0] == 200, text
    assert passed > 8


@in_both_luas
def test_a_message_that_passes_is_the_same_models_to_triton(lua: str, server: Server) -> None:
    dice, passed = random.Random(9), 0
    with grpc.insecure_channel(server.grpc_url) as channel:
        infer = channel.unary_unary(INFER)
        for _ in range(4000):
            message = mutated(dice, request("a", dice.choice(("", "1"))))
            named = core(lua).ask("model_named", frame(message), INFER)
            if not isinstance(named, dict):
                continue
            if core(lua).ask("scan", INFER, named["name"], named["version"], [frame(message)], LIMITS) is not None:
                continue
            try:
                read = service_pb2.ModelInferResponse.FromString(infer(message, timeout=10))
            except grpc.RpcError as err:
                if err.code() == grpc.StatusCode.UNAVAILABLE:
                    raise AssertionError(f"the server died of {message!r}") from err
                continue
            passed += 1
            assert read.model_name == named["name"], message
    assert passed > 40
