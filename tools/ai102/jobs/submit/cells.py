"""Outputs of a job as cells of a table: one column for each tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

# Scalars are values, vectors lists, further dimensions lists in lists; None stands for what is not finite.
Cell = bool | int | float | str | None | list["Cell"]


class Column(NamedTuple):
    """An output: its name, numpy's name of its type ("object" for strings), and how deep its lists are."""

    name: str
    kind: str
    rank: int


def columns_from_outputs(outputs: Mapping[str, NDArray[Any]]) -> list[Column]:
    return [Column(name, array.dtype.name, _rank(array)) for name, array in outputs.items()]


def cells_from_outputs(outputs: Mapping[str, NDArray[Any]]) -> dict[str, Cell]:
    """By name of the output."""
    return {name: _cell(array if _rank(array) else array.reshape(())) for name, array in outputs.items()}


def _rank(array: NDArray[Any]) -> int:
    return 0 if array.size == 1 and array.ndim < 2 else array.ndim


def _cell(array: NDArray[Any]) -> Cell:
    return _plain(array.tolist())


def _plain(value: Any) -> Cell:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    plain: Cell = value
    return plain
