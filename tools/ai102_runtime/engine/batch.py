"""Run several requests as one, give each its own rows, and keep one bad request from failing the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[Sequence[str], Mapping[str, Array]], Sequence[Array]]


class Call(NamedTuple):
    """One request: its place among those received, its arrays, and the outputs it wants."""

    position: int
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]


class Answer(NamedTuple):
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
            joint = _joint_answers(group, run)
        except errors as err:
            if len(group) == 1:
                yield Answer(group[0], {}, err)
            else:
                yield from answers(group, run, errors, can_join=False)
        else:
            yield from joint


def groups_of_equal_layout(calls: Iterable[Call]) -> list[list[Call]]:
    """Calls whose inputs have the same names and, but for the batch, the same shapes."""
    groups: dict[Any, list[Call]] = {}
    for call in calls:
        # Sorted, since requests may name their inputs in any order; most models have one.
        layout = tuple(sorted([(name, array.shape[1:]) for name, array in call.inputs.items()]))
        groups.setdefault(layout, []).append(call)
    return list(groups.values())


def _joint_answers(group: Sequence[Call], run: Run) -> list[Answer]:
    first = group[0]
    if len(group) == 1:
        # Nothing is copied for a lone request.
        return [Answer(first, dict(zip(first.outputs, run(first.outputs, first.inputs), strict=True)))]
    names = tuple({name: None for call in group for name in call.outputs})
    parts = {name: [call.inputs[name] for call in group] for name in first.inputs}
    ends = list(accumulate([len(part) for part in next(iter(parts.values()))]))
    rows = {}
    for name, array in zip(
        names, run(names, {name: np.concatenate(part) for name, part in parts.items()}), strict=True
    ):
        if array.shape[:1] != (ends[-1],):
            raise ValueError(f"output {name!r} has shape {array.shape} for a batch of {ends[-1]}")
        rows[name] = [array[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [Answer(call, {name: rows[name][place] for name in call.outputs}) for place, call in enumerate(group)]
