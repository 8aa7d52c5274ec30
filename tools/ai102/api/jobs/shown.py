"""Jobs as callers see them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.api.problems import problem_from_error
from ai102.client import BadRequestError
from ai102.jobs.item import Item, arrays_from_item, forms_from_text
from ai102.jobs.job import Job, State, moment

_WHY = {
    State.DEAD: "The model server failed at it again and again.",
    State.EXPIRED: "Its time was over before it was begun.",
}


def shown(job: Job) -> dict[str, Any]:
    """The job without its answer."""
    row: dict[str, Any] = {
        "id": job.id,
        "state": job.state.value,
        "model": job.model,
        "priority": job.priority.name.lower(),
        "accepted": moment(job.accepted_s),
    }
    if job.key:
        row["key"] = job.key
    if job.not_after_s is not None:
        row["not_after"] = moment(job.not_after_s)
    if job.ended_s is not None:
        row["ended"] = moment(job.ended_s)
    if job.kept_until_s is not None:
        row["kept_until"] = moment(job.kept_until_s)
    if job.state is State.FAILED:
        # Only the sentences of our own models reach a caller.
        row["error"] = problem_from_error(BadRequestError(job.error), 0).detail
    elif job.state in _WHY:
        row["error"] = _WHY[job.state]
    return row


def answer_shown(item: Item) -> list[dict[str, Any]]:
    """The answer as tensors, as Triton's REST protocol has them, of one row without the batch dimension."""
    arrays = arrays_from_item(item)
    return [
        {"name": name, "datatype": datatype, "shape": list(dims), "data": _values(arrays[name])}
        for name, datatype, dims in forms_from_text(item.forms)
    ]


def _values(array: NDArray[Any]) -> list[Any]:
    """JSON has no word for what is not finite: null stands for it."""
    if array.dtype == object:
        return [value.decode("utf-8", "replace") for value in array.reshape(-1)]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [value if math.isfinite(value) else None for value in array.reshape(-1).tolist()]
    return list(array.reshape(-1).tolist())
