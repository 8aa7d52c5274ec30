"""Run several requests as one, give each its own rows, and keep one bad request from failing the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[Sequence[str], Mapping[str, Array]], Sequence[Array]]


@dataclass(frozen=True)
class Call:
    """One request: its place among those received, its arrays, and the outputs it wants."""

    index: int
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The arrays of one call by output name, or the error that it alone caused."""

    call: Call
    outputs: Mapping[str, Array]
    error: Exception | None = None


def answers(
    calls: Sequence[Call], run: Run, errors: tuple[type[Exception], ...], *, can_join: bool
) -> Iterator[Answer]:
    """Answer every call, those of equal layout in one run where `can_join`; a failed joint run is done one by one.

    `run` raises one of `errors` for input it cannot take; anything else is a defect and passes through.
    """
    for group in groups_of_equal_layout(calls) if can_join else [[call] for call in calls]:
        try:
            found = _joint_answers(group, run)
        except errors as err:
            if len(group) == 1:
                yield Answer(group[0], {}, err)
            else:
                yield from answers(group, run, errors, can_join=False)
        else:
            yield from found


def groups_of_equal_layout(calls: Iterable[Call]) -> list[list[Call]]:
    """Calls whose inputs have the same names and, but for the batch, the same shapes."""
    groups: dict[Any, list[Call]] = {}
    for call in calls:
        layout = frozenset((name, array.shape[1:]) for name, array in call.inputs.items())
        groups.setdefault(layout, []).append(call)
    return list(groups.values())


def _joint_answers(group: Sequence[Call], run: Run) -> list[Answer]:
    first = group[0]
    if len(group) == 1:
        # Nothing is copied for a lone request.
        return [Answer(first, dict(zip(first.outputs, run(first.outputs, first.inputs), strict=True)))]
    wanted = tuple(dict.fromkeys(name for call in group for name in call.outputs))
    joined = {name: np.concatenate([call.inputs[name] for call in group]) for name in first.inputs}
    sizes = [len(next(iter(call.inputs.values()))) for call in group]
    ends = list(accumulate(sizes))
    rows = {}
    for name, array in zip(wanted, run(wanted, joined), strict=True):
        if array.shape[:1] != (ends[-1],):
            raise ValueError(f"output {name!r} has shape {array.shape} for a batch of {ends[-1]}")
        rows[name] = [array[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return [Answer(call, {name: rows[name][place] for name in call.outputs}) for place, call in enumerate(group)]
