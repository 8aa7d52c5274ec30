"""Model folders that the real server loads, from which every mutation starts, and the steps of the ensembles."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto, helper

from ai102.agreement.mutations import configs
from ai102.agreement.mutations.edits import CONFIG, Files

# Answers each request with zeros of the outputs' shapes.
MODEL_PY = """import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.outputs = json.loads(args["model_config"])["output"]

    def execute(self, requests):
        return [pb_utils.InferenceResponse([self.zeros(output) for output in self.outputs]) for _ in requests]

    def zeros(self, output):
        shape = [1, *(max(int(dim), 1) for dim in output["dims"])]
        kind = pb_utils.triton_string_to_numpy(output["data_type"])
        return pb_utils.Tensor(output["name"], np.full(shape, b"", kind) if kind == object else np.zeros(shape, kind))
"""


def identity_onnx() -> bytes:
    """The bytes of a network that gives back its input, of four numbers and any batch."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def completing(body: str, returned: str = "config", head: str = "", top: str = "") -> str:
    """MODEL_PY with an auto_complete_config of these lines; `head` is its def, `top` goes before the class."""
    head = head or "@staticmethod\n    def auto_complete_config(config):"
    lines = [*body.splitlines(), f"return {returned}"]
    method = f"    {head}\n" + "".join(f"        {line}\n" for line in lines) + "\n"
    before, opening, after = MODEL_PY.partition("class TritonPythonModel:\n")
    return before + top + opening + method + after


COMPLETED = """config.set_max_batch_size(8)
config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [4]})
config.add_output({"name": "y", "data_type": "TYPE_FP32", "dims": [4]})
"""
DECOUPLED = "config.set_model_transaction_policy({'decoupled': True})\n"


def python_model(config: str, **more: str | bytes) -> Files:
    return {CONFIG: config, "1/model.py": MODEL_PY, **more}


def tensors(config: str, x: str = "", y: str = "") -> str:
    """The same config with other tensors, each as "name TYPE dims"."""
    for tensor, name in ((x, "x"), (y, "y")):
        if tensor:
            other, data_type, dims = tensor.split(" ", 2)
            block = f'name: "{name}"\n  data_type: TYPE_FP32\n  dims: [ 4 ]'
            config = config.replace(block, f'name: "{other}"\n  data_type: {data_type}\n  dims: {dims}')
    return config


def unavailable(platform: str, file: str) -> Files:
    """A model of a backend that the server from PyPI lacks: Triton checks its config, then misses the backend."""
    config = configs.BATCHING.replace('backend: "python"', f'platform: "{platform}"')
    return {CONFIG: tensors(config, "x__0 TYPE_FP32 [ 4 ]", "y__0 TYPE_FP32 [ 4 ]"), f"1/{file}": ""}


UNAVAILABLE = {
    "tensorrt_plan": "model.plan",
    "pytorch_libtorch": "model.pt",
    "tensorflow_savedmodel": "model.savedmodel/",
    "tensorflow_graphdef": "model.graphdef",
}
SEEDS: Mapping[str, Files] = {
    "plain": python_model(configs.PLAIN),
    "unbatched": python_model(configs.UNBATCHED),
    "shaped": python_model(configs.SHAPED, **{"labels.txt": "".join(f"label {place}\n" for place in range(10))}),
    "batching": python_model(configs.BATCHING),
    "priorities": python_model(configs.PRIORITIES),
    "sequence": python_model(configs.SEQUENCE),
    "oldest": python_model(configs.OLDEST),
    "instances": python_model(configs.INSTANCES),
    "warmed": python_model(configs.WARMED, **{"warmup/sample": bytes(16)}),
    "versions": python_model(configs.VERSIONS, **{"2/model.py": MODEL_PY, "3/model.py": MODEL_PY}),
    "settings": python_model(configs.SETTINGS),
    "bare": python_model(configs.PYTHON),
    "onnx": {CONFIG: configs.ONNX, "1/model.onnx": identity_onnx()},
    "chain": {CONFIG: configs.CHAIN, "1/": ""},
    "fork": {CONFIG: configs.FORK, "1/": ""},
    "flat": {CONFIG: configs.FLAT, "1/": ""},
    **{platform: unavailable(platform, file) for platform, file in UNAVAILABLE.items()},
}
PLAIN_FLAT = configs.PLAIN.replace("max_batch_size: 8", "max_batch_size: 0")
# The steps of the ensembles: models of their own, which nothing mutates.
PARTS: Mapping[str, Files] = {
    "part_double": python_model(configs.PLAIN),
    "part_text": python_model(tensors(configs.PLAIN, y="text TYPE_STRING [ 1 ]")),
    "part_sum": python_model(
        tensors(configs.PLAIN, x="a TYPE_FP32 [ 4 ]") + configs.IN.replace('"x"', '"b"'),
    ),
    "part_flat": python_model(PLAIN_FLAT),
    "part_flat_batch": python_model(tensors(PLAIN_FLAT, "x TYPE_FP32 [ 8, 4 ]", "y TYPE_FP32 [ 8, 4 ]")),
    "part_flat_any": python_model(tensors(PLAIN_FLAT, "x TYPE_FP32 [ -1, 4 ]", "y TYPE_FP32 [ -1, 4 ]")),
    "part_ints": python_model(tensors(configs.PLAIN, "x TYPE_INT64 [ 4 ]", "y TYPE_INT64 [ 4 ]")),
    "part_any": python_model(tensors(configs.PLAIN, "x TYPE_FP32 [ -1 ]", "y TYPE_FP32 [ -1 ]")),
    "part_five": python_model(tensors(configs.PLAIN, "x TYPE_FP32 [ 5 ]", "y TYPE_FP32 [ 5 ]")),
    "part_reshape": python_model(
        tensors(configs.PLAIN, "x TYPE_FP32 [ 4 ]\n  reshape: { shape: [ 2, 2 ] }"),
    ),
    "part_square": python_model(tensors(configs.PLAIN, "x TYPE_FP32 [ 2, 2 ]", "y TYPE_FP32 [ 2, 2 ]")),
    "part_small": python_model(configs.PLAIN.replace("max_batch_size: 8", "max_batch_size: 4")),
    "part_optional": python_model(
        configs.PLAIN + configs.IN.replace('"x"', '"extra"').replace("dims: [ 4 ]", "dims: [ 4 ]\n  optional: true"),
    ),
    "part_decoupled": python_model(configs.PLAIN + "model_transaction_policy { decoupled: true }\n"),
    "part_sequence": python_model(configs.SEQUENCE),
    "part_completed": {CONFIG: configs.PYTHON, "1/model.py": completing(COMPLETED)},
    "part_completed_decoupled": {CONFIG: configs.PYTHON, "1/model.py": completing(COMPLETED + DECOUPLED)},
    "part_inner_decoupled": {CONFIG: configs.CHAIN.replace("part_double", "part_decoupled", 1), "1/": ""},
    "part_inner": {CONFIG: configs.CHAIN, "1/": ""},
}
