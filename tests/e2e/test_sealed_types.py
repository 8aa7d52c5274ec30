"""A sealed model over a network whose output numpy has no type for."""

import base64
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from ai102.client import BadRequestError, Client
from ai102_runtime.seal.keys import keys_from_environment
from tests.e2e.conftest import StartServer

pytestmark = pytest.mark.e2e
SEALED = Path(__file__).parent.parent.parent / "model_repository" / "sealed_embed_text"
ENVIRONMENT = {"AI102_SEAL_KEY_TESTS": base64.b64encode(bytes(range(32))).decode()}


def test_bfloat16_is_refused_in_a_sealed_sentence(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (ENVIRONMENT | {"AI102_SEAL_SEEN": str(tmp_path / "seen")}).items():
        monkeypatch.setenv(name, value)
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    tensors = (
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.BFLOAT16, ["n", 2])],
    )
    graph = helper.make_graph([cast], "cast", *tensors)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    config = (SEALED / "config.pbtxt").read_text(encoding="utf-8")
    for old, new in {"embed_text": "cast", "sentence_embedding,truncated": "y"}.items():
        config = config.replace(old, new)
    sealed = {f"1/{file.name}": file.read_text(encoding="utf-8") for file in (SEALED / "1").glob("*.py")}
    network_config = 'platform: "onnxruntime_onnx"\nmax_batch_size: 32\n'
    server = start_server(
        {
            "cast": {"1/model.onnx": network, "config.pbtxt": network_config},
            "sealed_cast": sealed | {"config.pbtxt": config},
        }
    )
    x = np.zeros((1, 2), np.float32)
    keys = keys_from_environment(ENVIRONMENT)
    with Client(f"grpc://{server.grpc_url}", seal=keys) as client, pytest.raises(BadRequestError) as caught:
        client.infer("cast", {"x": x})
    assert (caught.value.status, str(caught.value)) == (
        "UNIMPLEMENTED",
        "cast: y is of a type that sealed answers do not carry",
    )
