"""ONNX Runtime as an engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from ai102_runtime.data_types import BY_ONNX
from ai102_runtime.engine.batch import Array
from ai102_runtime.engine.engine import Config, EngineKind, Instance
from ai102_runtime.engine.signature import Signature, TensorSpec
from ai102_runtime.onnx.bfloat16 import uint16_from_bfloat16, value_from_uint16
from ai102_runtime.onnx.session_setup import (
    ORT_ERRORS,
    opened_session,
    options_from_config,
    plain_reason,
    providers_for,
    run_options_from_config,
)


class OnnxRuntime:
    """An open session."""

    title = f"ONNX Runtime {ort.__version__}"
    errors: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError, ValueError, TypeError, MemoryError)

    def __init__(self, session: ort.InferenceSession, run_options: ort.RunOptions) -> None:
        self.session, self.run_options = session, run_options
        self.signature = signature_from_session(session)
        tensors = (*self.signature.inputs, *self.signature.defaults, *self.signature.outputs)
        self.bfloat16 = {tensor.name for tensor in tensors if tensor.data_type == "TYPE_BF16"}

    def run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        """bfloat16 comes and goes as uint16."""
        if not self.bfloat16:
            outputs: Sequence[Array] = self.session.run(list(names), dict(feeds), self.run_options)
            return outputs
        # numpy has no bfloat16, so these models take the longer way over OrtValue.
        values = {
            name: value_from_uint16(array) if name in self.bfloat16 else ort.OrtValue.ortvalue_from_numpy(array)
            for name, array in feeds.items()
        }
        results = self.session.run_with_ort_values(list(names), values, self.run_options)
        return [
            uint16_from_bfloat16(value) if name in self.bfloat16 else value.numpy()
            for name, value in zip(names, results, strict=True)
        ]

    def reason(self, error: Exception) -> str:
        return plain_reason(error)

    def is_clients_fault(self, error: Exception) -> bool:
        return type(error).__name__ == "InvalidArgument"


def opened(path: Path, config: Config, instance: Instance) -> OnnxRuntime:
    """Open a file on the device of the instance; on the CPU where this onnxruntime cannot use its GPU."""
    session = opened_session(path, options_from_config(config), providers_for(instance.kind, instance.device_id))
    return OnnxRuntime(session, run_options_from_config(config))


def signature_from_file(path: Path, config: Config) -> Signature:
    return signature_from_session(opened_session(path, options_from_config(config), providers_for("CPU", 0)))


def signature_from_session(session: Any) -> Signature:
    """Read the names, types and dims of an onnxruntime.InferenceSession."""
    return Signature(
        tuple(_spec(node) for node in session.get_inputs()),
        tuple(_spec(node) for node in session.get_outputs()),
        tuple(_spec(node) for node in session.get_overridable_initializers()),
    )


def _spec(node: Any) -> TensorSpec:
    dims = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in node.shape)
    symbols = tuple(dim if isinstance(dim, str) else "" for dim in node.shape)
    data_type = BY_ONNX[node.type].config_name if node.type in BY_ONNX else node.type
    return TensorSpec(node.name, data_type, dims, symbols)


KIND = EngineKind("onnxruntime", "model.onnx", signature_from_file, opened)
