"""Between Triton's tensors and numpy arrays, with a check of what a client may have got wrong."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.data_types import BY_NAME
from ai102_runtime.onnx.batch import Array
from ai102_runtime.onnx.signature import TensorSpec

# All bits of the exponent set means NaN or infinity. numpy has no bfloat16, so its bits travel as uint16.
EXPONENT_BITS = {"TYPE_FP16": 0x7C00, "TYPE_BF16": 0x7F80}


class BadRequestError(Exception):
    """The client's mistake, in one sentence that says what to send instead."""


def array_from_tensor(tensor: Any, spec: TensorSpec) -> Array:
    """A view of the tensor's memory; strings are decoded and bfloat16 is copied as uint16."""
    if spec.data_type == "TYPE_STRING":
        array = _strings(tensor.as_numpy(), spec.name)
    elif spec.data_type == "TYPE_BF16":
        array = uint16_from_bfloat16(ort.OrtValue.from_dlpack(tensor.to_dlpack()))
    else:
        array = tensor.as_numpy()
    # Triton knows no tensor without dimensions: it sends [1] for ONNX's scalar.
    return array.reshape(()) if not spec.dims and array.size == 1 else array


def tensor_from_array(name: str, array: Array, data_type: str, dims_of_scalar: Sequence[int], alive: list[Any]) -> Any:
    """Triton's tensor over the array's memory; what must outlive the answer is put into `alive`."""
    if array.ndim == 0:
        array = array.reshape(dims_of_scalar)
    if data_type == "TYPE_BF16":
        value = value_from_uint16(np.ascontiguousarray(array))
        alive.append(value)
        return pb_utils.Tensor.from_dlpack(name, value)
    return pb_utils.Tensor(name, array)


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


def check_finite(array: Array, spec: TensorSpec) -> None:
    """Raise BadRequestError when a float input holds NaN or infinity; other types have neither."""
    if spec.data_type in EXPONENT_BITS:
        bits = EXPONENT_BITS[spec.data_type]
        is_finite = not ((array.view(np.uint16) & bits) == bits).any()
    elif spec.data_type in ("TYPE_FP32", "TYPE_FP64") and array.size:
        # Two passes without a temporary array cost less than isfinite().all(); NaN passes through min.
        is_finite = bool(np.isfinite(array.min()) and np.isfinite(array.max()))
    else:
        is_finite = True
    if not is_finite:
        raise BadRequestError(f"input {spec.name!r} holds NaN or infinity: send finite numbers only")


def check_symbols(inputs: Mapping[str, Array], shared: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    """Raise BadRequestError when dimensions that have one name in the ONNX file differ between inputs."""
    for symbol, places in shared.items():
        sizes = {name: inputs[name].shape[axis] for name, axis in places if name in inputs}
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
            raise BadRequestError(f"inputs differ in dimension {symbol!r} ({said}): send the same size in each")


def shared_symbols(inputs: Sequence[TensorSpec], *, has_batch: bool) -> dict[str, list[tuple[str, int]]]:
    """Where each named dimension stands that more than one input has; Triton itself checks the batch."""
    places: dict[str, list[tuple[str, int]]] = {}
    for spec in inputs:
        for axis, symbol in enumerate(spec.symbols):
            if symbol and not (has_batch and axis == 0):
                places.setdefault(symbol, []).append((spec.name, axis))
    return {symbol: axes for symbol, axes in places.items() if len({name for name, _ in axes}) > 1}


def _strings(raw: Array, name: str) -> Array:
    decoded = np.empty(raw.size, dtype=object)
    for place, item in enumerate(raw.reshape(-1)):
        try:
            decoded[place] = item.decode("utf-8")
        except UnicodeDecodeError as err:
            raise BadRequestError(
                f"input {name!r} is not UTF-8 (element {place}, byte {err.start}): encode text as UTF-8"
            ) from err
    return decoded.reshape(raw.shape)
