"""Triton's data types, once: their names in protocols, configs, numpy and ONNX, and the bytes of an element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

# As Triton's HTTP and gRPC protocols spell them.
TypeName = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip


class DataType(NamedTuple):
    name: TypeName
    config_name: str  # in config.pbtxt
    numpy_name: str  # for numpy.dtype; empty where numpy has no such type
    onnx_name: str  # as ONNX Runtime writes it: tensor(NAME)
    onnx_number: int  # of onnx.TensorProto.DataType, which changes with no release
    element_bytes: int  # 0: it varies

    @property
    def is_float(self) -> bool:
        return self.name in ("FP16", "BF16", "FP32", "FP64")


DATA_TYPES = (
    DataType("BOOL", "TYPE_BOOL", "bool", "bool", 9, 1),
    DataType("UINT8", "TYPE_UINT8", "uint8", "uint8", 2, 1),
    DataType("UINT16", "TYPE_UINT16", "uint16", "uint16", 4, 2),
    DataType("UINT32", "TYPE_UINT32", "uint32", "uint32", 12, 4),
    DataType("UINT64", "TYPE_UINT64", "uint64", "uint64", 13, 8),
    DataType("INT8", "TYPE_INT8", "int8", "int8", 3, 1),
    DataType("INT16", "TYPE_INT16", "int16", "int16", 5, 2),
    DataType("INT32", "TYPE_INT32", "int32", "int32", 6, 4),
    DataType("INT64", "TYPE_INT64", "int64", "int64", 7, 8),
    DataType("FP16", "TYPE_FP16", "float16", "float16", 10, 2),
    DataType("BF16", "TYPE_BF16", "", "bfloat16", 16, 2),
    DataType("FP32", "TYPE_FP32", "float32", "float", 1, 4),
    DataType("FP64", "TYPE_FP64", "float64", "double", 11, 8),
    DataType("BYTES", "TYPE_STRING", "object", "string", 8, 0),
)
BY_NAME: Mapping[str, DataType] = {kind.name: kind for kind in DATA_TYPES}
BY_ONNX: Mapping[str, DataType] = {f"tensor({kind.onnx_name})": kind for kind in DATA_TYPES}
BY_NUMPY: Mapping[str, DataType] = {kind.numpy_name: kind for kind in DATA_TYPES if kind.numpy_name}
