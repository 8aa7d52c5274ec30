"""Tensors as bytes and back, for the answer inside an envelope; Triton's names for types, no pickle.

    magic "AIT1" · number of tensors 1 byte · each: name and datatype (one byte of length, ASCII) · number of
    dimensions 1 byte · each dimension 4 bytes · length of data 8 bytes · data        (numbers big-endian)

Data is row-major and little-endian, as Triton has it raw; of BYTES each element is 4 bytes of length, little-endian,
and so many bytes.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from ai102_runtime.data_types import DATA_TYPES
from ai102_runtime.seal.envelope import SealError

MAGIC = b"AIT1"
MAX_TENSORS, MAX_DIMENSIONS = 64, 16
NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,255}\Z")
BYTES_OF = {kind.name: kind.element_bytes or 1 for kind in DATA_TYPES}  # of BYTES, elements


class Tensor(NamedTuple):
    """As Triton has it raw: `numpy.frombuffer(data, dtype).reshape(shape)`, or `elements_from_bytes` for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


def bytes_from_tensors(tensors: Sequence[Tensor]) -> bytes:
    """Raises SealError (code format) for what `tensors_from_bytes` would not take."""
    _refuse_misfits(tensors)
    parts = [MAGIC, bytes([len(tensors)])]
    for name, datatype, shape, data in tensors:
        parts += [bytes([len(word)]) + word.encode("ascii") for word in (name, datatype)]
        parts += [struct.pack(f">B{len(shape)}IQ", len(shape), *shape, len(data)), data]
    return b"".join(parts)


def tensors_from_bytes(packed: bytes) -> list[Tensor]:
    """Every tensor, checked: names differ, types are known, data fits the shape. Raises SealError (code format)."""
    reader = _Reader(packed)
    if reader.take(4) != MAGIC:
        raise SealError("format", "no tensors of this format")
    tensors = []
    for _ in range(reader.number("B")):
        name, datatype = reader.word(), reader.word()
        shape = tuple(reader.number(">I") for _ in range(reader.number("B")))
        tensors.append(Tensor(name, datatype, shape, reader.take(reader.number(">Q"))))
    if reader.at != len(packed):
        raise SealError("format", f"{len(packed) - reader.at} bytes after the last tensor")
    _refuse_misfits(tensors)
    return tensors


def bytes_from_elements(elements: Sequence[bytes]) -> bytes:
    """The data of a BYTES tensor."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def elements_from_bytes(data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor's data. Raises SealError (code format)."""
    reader, elements = _Reader(data), []
    while reader.at < len(data):
        elements.append(reader.take(reader.number("<I")))
    return elements


class _Reader:
    """Takes bytes from the front, never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        part = self._data[self.at : self.at + length]
        if len(part) < length:
            raise SealError("format", f"{length} bytes announced at {self.at}, {len(part)} there")
        self.at += length
        return part

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def word(self) -> str:
        return self.take(self.number("B")).decode("latin-1")


def _refuse_misfits(tensors: Sequence[Tensor]) -> None:
    if len(tensors) > MAX_TENSORS or len({tensor.name for tensor in tensors}) < len(tensors):
        raise SealError("format", f"{len(tensors)} tensors: at most {MAX_TENSORS}, each with its own name")
    for name, datatype, shape, data in tensors:
        if not NAME.match(name) or datatype not in BYTES_OF:
            raise SealError("format", f"no tensor: {name!r} of type {datatype!r}")
        if len(shape) > MAX_DIMENSIONS or any(not 0 <= size < 1 << 32 for size in shape):
            raise SealError("format", f"{name}: the shape {list(shape)}")
        length = len(data) if datatype != "BYTES" else len(elements_from_bytes(data))
        if length != math.prod(shape) * BYTES_OF[datatype]:
            raise SealError("format", f"{name}: {len(data)} bytes are not {datatype} {list(shape)}")
