"""Arrays in the form of Triton's protocols: a type, a shape, and little-endian bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102.client.errors import BadAnswerError, BadRequestError
from ai102_runtime.data_types import BY_NAME, DATA_TYPES

Arrays = Mapping[str, NDArray[Any]]
NUMPY_TYPES: Mapping[str, np.dtype[Any]] = {
    kind.name: np.dtype(kind.numpy_name) for kind in DATA_TYPES if kind.numpy_name and kind.element_bytes
}
_NAMES = {dtype.newbyteorder("<"): name for name, dtype in NUMPY_TYPES.items()}


class Raw(NamedTuple):
    """One tensor of a request or an answer; `data` may be any buffer."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any


def raw_from_array(name: str, array: NDArray[Any]) -> Raw:
    """Texts, bytes and objects become BYTES. Raises BadRequestError for a type that Triton does not have."""
    if array.dtype.kind in "OSU":
        return Raw(name, "BYTES", array.shape, _packed(name, array))
    little_endian = array.dtype if array.dtype in _NAMES else array.dtype.newbyteorder("<")
    datatype = _NAMES.get(little_endian)
    if datatype is None and array.dtype.name == "bfloat16":  # of the package ml_dtypes, a part of JAX and others
        return Raw(name, "BF16", array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    if datatype is None:
        raise BadRequestError(f"{name} is an array of {array.dtype}, which Triton does not have: convert it")
    plain = np.ascontiguousarray(array, little_endian)
    return Raw(name, datatype, array.shape, plain.data.cast("B") if plain.size else b"")


def array_from_raw(raw: Raw) -> NDArray[Any]:
    """BYTES become an array of bytes objects, BF16 one of float32. Raises BadAnswerError when bytes are missing."""
    try:
        if raw.datatype == "BYTES":
            return _unpacked(raw.data).reshape(raw.shape)
        if raw.datatype == "BF16":
            wide = np.frombuffer(raw.data, "<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(raw.shape)
        return np.frombuffer(raw.data, NUMPY_TYPES[raw.datatype]).reshape(raw.shape)
    except (ValueError, KeyError, IndexError) as err:
        raise BadAnswerError(f"{raw.name}: {len(raw.data)} bytes are no {raw.datatype} {list(raw.shape)}") from err


def size_of_raw(raw: Raw) -> int:
    """The bytes that its type and shape stand for; no string has a fixed size."""
    return BY_NAME[raw.datatype].element_bytes * math.prod(raw.shape)


def bytes_array(items: Sequence[bytes]) -> NDArray[np.object_]:
    """Items as a BYTES tensor [items, 1]: one per row of a batch."""
    array = np.empty((len(items), 1), dtype=np.object_)
    array[:, 0] = items
    return array


def rows_of(inputs: Arrays) -> int | None:
    """How many rows all inputs have in common, or None where they differ or one has no dimension."""
    counts = {array.shape[0] if array.ndim else None for array in inputs.values()}
    return counts.pop() if len(counts) == 1 else None


def split(inputs: Arrays, size: int) -> list[dict[str, NDArray[Any]]]:
    """The rows in batches of at most `size`."""
    rows = rows_of(inputs) or 0
    return [{name: array[at : at + size] for name, array in inputs.items()} for at in range(0, rows, size)]


def joined(answers: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    """The answers to batches that were split, as one."""
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _packed(name: str, array: NDArray[Any]) -> bytes:
    parts: list[bytes] = []
    for value in array.reshape(-1).tolist():
        if value is None:
            raise BadRequestError(f"{name} holds None, which is no string: leave it out, or send an empty string")
        item = value if isinstance(value, bytes) else str(value).encode()
        parts += (len(item).to_bytes(4, "little"), item)
    return b"".join(parts)


def _unpacked(data: Any) -> NDArray[np.object_]:
    view, at, items = bytes(data), 0, []
    while at < len(view):
        end = at + 4 + int.from_bytes(view[at : at + 4], "little")
        if end > len(view):
            raise ValueError("the last string is cut")
        items.append(view[at + 4 : end])
        at = end
    array = np.empty(len(items), dtype=np.object_)
    array[:] = items
    return array
