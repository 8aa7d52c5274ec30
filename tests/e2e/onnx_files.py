"""Small ONNX models, written in a line each, that the tests give to a real server."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

# The name of each ONNX type in Triton's configs and requests.
ONNX_FROM_TRITON = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

Dims = Sequence[int | str]


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), list(outputs), **attributes)


def tensor(name: str, data_type: str, dims: Dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ONNX_FROM_TRITON[data_type], list(dims))


def model(
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
    initializers: Iterable[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))
    onnx_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(onnx_model)
    return onnx_model


def identity(data_type: str = "FP32", dims: Dims = ("n", 2)) -> onnx.ModelProto:
    return model([node("Identity", ["x"], ["y"])], [tensor("x", data_type, dims)], [tensor("y", data_type, dims)])


def addition(dims: Dims = ("n", "s")) -> onnx.ModelProto:
    """sum = a + b, difference = a - b."""
    return model(
        [node("Add", ["a", "b"], ["sum"]), node("Sub", ["a", "b"], ["difference"])],
        [tensor("a", "FP32", dims), tensor("b", "FP32", dims)],
        [tensor("sum", "FP32", dims), tensor("difference", "FP32", dims)],
    )


def constant(name: str, value: float) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT, [1], [value])


def plus(value: float, dims: Dims = ("n", 2)) -> onnx.ModelProto:
    """y = x + value."""
    return model(
        [node("Add", ["x", "value"], ["y"])],
        [tensor("x", "FP32", dims)],
        [tensor("y", "FP32", dims)],
        [constant("value", value)],
    )


def external(value: float) -> dict[str, bytes]:
    """A model whose weight lies in a file beside it."""
    onnx_model = plus(value)
    weight = onnx_model.graph.initializer[0]
    weight.ClearField("float_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    return {"model.onnx": onnx_model.SerializeToString(), "weights.bin": struct.pack("<f", value)}


def every_type(types: Mapping[str, str]) -> onnx.ModelProto:
    """Each input comes back as it is. `types`: Triton's type, and what its tensors are called."""
    return model(
        [node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in types.values()],
        [tensor(f"in_{name}", triton, ["n", 2]) for triton, name in types.items()],
        [tensor(f"out_{name}", triton, ["n", 2]) for triton, name in types.items()],
    )
