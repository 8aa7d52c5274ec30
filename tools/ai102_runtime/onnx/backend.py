"""Triton's backend `onnxruntime` in Python: serves ONNX files where NVIDIA's own backend is not installed."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.engine.backend import ServedFile
from ai102_runtime.engine.batch import Array
from ai102_runtime.engine.signature import TensorSpec
from ai102_runtime.onnx import judged
from ai102_runtime.onnx.bfloat16 import uint16_from_tensor, value_from_uint16
from ai102_runtime.onnx.engine import KIND, OnnxRuntime


def _warn(text: str) -> None:
    pb_utils.Logger.log_warn(text)  # Triton gives the logger after this module is imported


class TritonPythonModel(ServedFile):
    """One instance of one model, on ONNX Runtime where no other engine was judged faster."""

    engine_kind = replace(KIND, opened=partial(judged.opened, warn=_warn))

    def initialize(self, args: Mapping[str, str]) -> None:
        super().initialize(args)
        providers = self.engine.session.get_providers() if isinstance(self.engine, OnnxRuntime) else []
        if args["model_instance_kind"] == "GPU" and "CUDAExecutionProvider" not in providers:
            pb_utils.Logger.log_warn(
                f"model {args['model_name']!r} asks for KIND_GPU and this onnxruntime cannot use the GPU: it runs on "
                "the CPU; install onnxruntime-gpu, or write KIND_CPU"
            )

    def array_from_tensor(self, tensor: Any, spec: TensorSpec) -> Array:
        """bfloat16 is copied as uint16."""
        if spec.data_type != "TYPE_BF16":
            return super().array_from_tensor(tensor, spec)
        array = uint16_from_tensor(tensor)
        return array.reshape(()) if not spec.dims and array.size == 1 else array

    def tensor_from_array(self, name: str, array: Array) -> Any:
        if self.outputs[name].data_type != "TYPE_BF16":
            return super().tensor_from_array(name, array)
        shaped = array.reshape(self.config_dims[name]) if array.ndim == 0 else array
        value = value_from_uint16(np.ascontiguousarray(shaped))
        self.alive.append(value)
        return pb_utils.Tensor.from_dlpack(name, value)
