"""Dimensions as Triton counts and compares them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import prod

FREE = -1  # a dimension of any size


def shown(dims: Iterable[int]) -> str:
    """As they are written in a config: `[ 1, 28, 28 ]`."""
    inner = ", ".join(str(dim) for dim in dims)
    return f"[ {inner} ]" if inner else "[ ]"


def is_dim(dim: int) -> bool:
    return dim >= 1 or dim == FREE


def count(dims: Sequence[int]) -> int | None:
    """How many elements; None when a dimension is free. Triton counts none at all as 0."""
    if FREE in dims:
        return None
    return prod(dims) if dims else 0


def may_be_equal(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether some size of the free dimensions makes them the same."""
    return len(one) == len(other) and all(a == b or FREE in (a, b) for a, b in zip(one, other, strict=True))


def can_be_reshaped(dims: Sequence[int], shape: Sequence[int]) -> bool:
    """Triton's rule: as many elements, and with free dimensions as many between each two of them."""
    if count(dims) != count(shape):
        return not shape and count(dims) == 1
    return FREE not in dims or _between(dims) == _between(shape)


def _between(dims: Sequence[int]) -> list[int]:
    """The elements before, between and after the free dimensions."""
    counts = [1]
    for is_free, run in groupby(dims, key=lambda dim: dim == FREE):
        if is_free:
            counts += [1 for _ in run]
        else:
            counts[-1] *= prod(run)
    return counts
