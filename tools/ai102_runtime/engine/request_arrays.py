"""Between Triton's tensors and numpy arrays, with a check of what a client may have got wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # only inside Triton

from ai102_runtime.engine.batch import Array
from ai102_runtime.engine.signature import TensorSpec

# All bits of the exponent set means NaN or infinity. numpy has no bfloat16, so its bits travel as uint16.
EXPONENT_BITS = {"TYPE_FP16": 0x7C00, "TYPE_BF16": 0x7F80}


class BadRequestError(Exception):
    """The client's mistake, in one sentence that says what to send instead."""


def array_from_tensor(tensor: Any, spec: TensorSpec) -> Array:
    """A view of the tensor's memory; strings are decoded."""
    raw = tensor.as_numpy()
    array = _strings(raw, spec.name) if spec.data_type == "TYPE_STRING" else raw
    # Triton knows no tensor without dimensions: it sends [1] for ONNX's scalar.
    return array.reshape(()) if not spec.dims and array.size == 1 else array


def tensor_from_array(name: str, array: Array, dims_of_scalar: Sequence[int]) -> Any:
    """Triton's tensor over the array's memory."""
    return pb_utils.Tensor(name, array.reshape(dims_of_scalar) if array.ndim == 0 else array)


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
