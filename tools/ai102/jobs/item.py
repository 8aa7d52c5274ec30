"""One item, a row of a batch, as bytes: what a job asks a model and what the model answered."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102.client.tensors import NUMPY_TYPES, Raw, array_from_raw, raw_from_array
from ai102_runtime.data_types import BY_NAME


class Form(NamedTuple):
    """One tensor of an item, without the batch dimension; `dims` has no -1."""

    name: str
    datatype: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int | None:
        """Bytes of the tensor; None for BYTES, whose strings have a length each."""
        return BY_NAME[self.datatype].element_bytes * math.prod(self.dims) or None


class Item(NamedTuple):
    """Tensors of one row: `forms` as text, equal for items that fit in one batch, and their bytes one after another.

    The bytes of each tensor are those of Triton's binary tensor data; strings have their length before them.
    """

    forms: str
    data: bytes


def item_of_tensors(tensors: Sequence[tuple[Form, bytes]]) -> Item:
    """The tensors of a row whose bytes are known."""
    return Item(_text(tuple(form for form, _ in tensors)), b"".join(data for _, data in tensors))


def arrays_from_item(item: Item) -> dict[str, NDArray[Any]]:
    """The arrays by name, without the batch dimension."""
    return {name: rows[0] for name, rows in stacked(item.forms, [item.data]).items()}


def stacked(forms: str, rows: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """A batch [rows, ...] of items of the same forms."""
    parsed = forms_from_text(forms)
    if len(parsed) == 1 and (form := parsed[0]).size and form.datatype in NUMPY_TYPES:
        return {form.name: np.frombuffer(b"".join(rows), NUMPY_TYPES[form.datatype]).reshape(len(rows), *form.dims)}
    cut = [tuple(_cut(parsed, row)) for row in rows]
    return {
        form.name: array_from_raw(
            Raw(form.name, form.datatype, (len(rows), *form.dims), b"".join(parts[place] for parts in cut))
        )
        for place, form in enumerate(parsed)
    }


def items_from_batch(arrays: Mapping[str, NDArray[Any]]) -> list[Item]:
    """The rows of an answer [rows, ...], each as an item of its own."""
    count = len(next(iter(arrays.values())))
    forms, columns = [], []
    for name, array in arrays.items():
        if array.dtype == object:
            raws = [raw_from_array(name, row) for row in array]
            columns.append([bytes(raw.data) for raw in raws])
            forms.append(Form(name, "BYTES", array.shape[1:]))
            continue
        raw = raw_from_array(name, array)
        size = len(raw.data) // count
        view = memoryview(raw.data)
        columns.append([bytes(view[at * size : (at + 1) * size]) for at in range(count)])
        forms.append(Form(name, raw.datatype, array.shape[1:]))
    text = _text(tuple(forms))
    return [Item(text, b"".join(parts)) for parts in zip(*columns, strict=True)]


@lru_cache(maxsize=1024)
def forms_from_text(text: str) -> tuple[Form, ...]:
    return tuple(Form(name, datatype, tuple(dims)) for name, datatype, dims in json.loads(text))


@lru_cache(maxsize=1024)
def _text(forms: tuple[Form, ...]) -> str:
    return json.dumps(forms, separators=(",", ":"))


def _cut(forms: Sequence[Form], data: bytes) -> Iterator[bytes]:
    at = 0
    for form in forms:
        end = at + (form.size or 0)
        if form.size is None:
            for _ in range(math.prod(form.dims)):
                end += 4 + int.from_bytes(data[end : end + 4], "little")
        yield data[at:end]
        at = end
