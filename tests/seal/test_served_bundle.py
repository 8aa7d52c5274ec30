"""A tritonserver over a bundle that is open in memory alone."""

from pathlib import Path

import numpy as np
import pytest

from ai102.seal.bundle import opened_in_memory, seal
from ai102_runtime.seal.envelope import Key
from ai102_runtime.seal.keys import Keys
from tests.servers import Server

MODEL_PY = """
import triton_python_backend_utils as pb_utils
class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("out", pb_utils.get_input_tensor_by_name(
            request, "in").as_numpy() + 1)]) for request in requests]
"""
CONFIG = """
name: "plus_one" backend: "python" max_batch_size: 0 instance_group [{ kind: KIND_CPU }]
input [{ name: "in" data_type: TYPE_FP32 dims: [2] }] output [{ name: "out" data_type: TYPE_FP32 dims: [2] }]
"""


@pytest.mark.e2e
def test_a_model_answers_from_memory_and_leaves_nothing_there(tmp_path: Path) -> None:
    from tritonclient.grpc import InferenceServerClient, InferInput

    folder = tmp_path / "repository" / "plus_one"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "1" / "model.py").write_text(MODEL_PY)
    key = Key("k", bytes(32))
    seal(tmp_path / "repository", tmp_path / "b", key)
    with (
        opened_in_memory(tmp_path / "b", Keys({"k": key})) as repository,
        Server(repository, http_port=0, grpc_port=0, metrics_port=0) as server,
        InferenceServerClient(server.grpc_url) as client,
    ):
        given = InferInput("in", [2], "FP32")
        given.set_data_from_numpy(np.array([1, 2], np.float32))
        assert client.infer("plus_one", [given]).as_numpy("out").tolist() == [2, 3]
    assert not repository.parent.exists()
