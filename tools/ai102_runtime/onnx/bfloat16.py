"""bfloat16, which numpy lacks: its bits travel as uint16 between Triton's tensors and those of ONNX Runtime."""

import ctypes
from typing import Any

import numpy as np
import onnxruntime as ort

from ai102_runtime.data_types import BY_NAME
from ai102_runtime.engine.batch import Array


def uint16_from_tensor(tensor: Any) -> Array:
    """A copy of the bits of Triton's tensor."""
    return uint16_from_bfloat16(ort.OrtValue.from_dlpack(tensor.to_dlpack()))


def uint16_from_bfloat16(value: Any) -> Array:
    """A copy of the bits of a bfloat16 OrtValue on the CPU."""
    size = value.tensor_size_in_bytes()
    if size == 0:
        return np.empty(value.shape(), np.uint16)
    buffer = (ctypes.c_char * size).from_address(value.data_ptr())
    return np.frombuffer(buffer, np.uint16).reshape(value.shape()).copy()


def value_from_uint16(array: Array) -> ort.OrtValue:
    """A bfloat16 OrtValue over the array's memory."""
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, BY_NAME["BF16"].onnx_number)
