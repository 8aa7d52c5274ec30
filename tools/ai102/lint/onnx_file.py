"""What an ONNX file takes and gives, read without its weights and without a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.errors import UserError
from ai102.lint.paths import is_file
from ai102_runtime.data_types import DATA_TYPES

# By number of onnx.TensorProto.DataType.
TYPES = {kind.onnx_number: pb.DataType.Value(kind.config_name) for kind in DATA_TYPES}


@dataclass(frozen=True)
class OnnxTensor:
    """`data_type` is Triton's, TYPE_INVALID for what is no tensor; a free dimension is -1; dims None: not written."""

    name: str
    data_type: int
    dims: tuple[int, ...] | None

    @property
    def can_batch(self) -> bool:
        return self.dims is None or self.dims[:1] == (-1,)


@dataclass(frozen=True)
class Signature:
    """`defaults` are inputs that a request may leave out."""

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]
    defaults: tuple[OnnxTensor, ...]

    @property
    def can_batch(self) -> bool:
        """Whether every input and output has a free first dimension."""
        return all(tensor.can_batch for tensor in (*self.inputs, *self.outputs))


def signature_from_onnx(path: Path) -> Signature | None:
    """None when the file is not a whole ONNX model. A folder holds a model.onnx."""
    file = path / "model.onnx" if path.is_dir() else path
    return _read(file, file.stat().st_mtime_ns) if is_file(file) else None


@lru_cache(maxsize=1024)
def _read(file: Path, mtime_ns: int) -> Signature | None:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as err:
        raise UserError(f"{file}: reading it needs the package onnx: install onnx, or run with --no-files") from err
    try:
        model = onnx.load(file, load_external_data=False)
    except DecodeError:
        return None
    if not model.HasField("graph") or not model.graph.output:
        return None
    given = {tensor.name for tensor in (*model.graph.initializer,)}
    given |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    tensors = [_tensor(value) for value in model.graph.input]
    return Signature(
        inputs=tuple(tensor for tensor in tensors if tensor.name not in given),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        # Before version 4 of the format every weight was listed as an input, and none could be given.
        defaults=tuple(tensor for tensor in tensors if tensor.name in given) if model.ir_version >= 4 else (),
    )


def _tensor(value: Any) -> OnnxTensor:
    if value.type.WhichOneof("value") != "tensor_type":
        return OnnxTensor(value.name, pb.TYPE_INVALID, None)
    kind = value.type.tensor_type
    dims = tuple(dim.dim_value if dim.WhichOneof("value") == "dim_value" else -1 for dim in kind.shape.dim)
    data_type = TYPES.get(kind.elem_type, pb.TYPE_INVALID)
    return OnnxTensor(value.name, data_type, dims if kind.HasField("shape") else None)
