"""A pipeline's outputs as answers to samples, and what is wrong with their form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ai102.judging.record import Pair, Purpose, Record, Reply
from ai102.judging.subject import Subject, Target

# How far probabilities may be from a sum of 1, where those of the version in service are not.
SUM_TOLERANCE = 0.01
# Two answers of one server to one sample: rounding differs by the batch, so a near tie may turn.
SURE, SAME_SCORE, SAME_COSINE = 0.6, 0.2, 0.98


class Answer(NamedTuple):
    """The answer to one sample; `fault` says what is wrong with its form, empty where nothing is."""

    label: int = -1  # index; -1: none
    confidence: float = float("nan")  # the score of that label
    scores: NDArray[np.float64] | None = None  # [labels]
    vector: NDArray[np.float64] | None = None  # [width]
    fault: str = ""


class Compared(NamedTuple):
    """One sample, answered by both; an answer is None where the call failed, or nobody was asked."""

    position: int
    target: Target
    form: str
    canary: Answer | None
    primary: Answer | None


def answers_of(subject: Subject, target: Target, reply: Reply | None, rows: int) -> list[Answer] | None:
    """An answer for each row; None where the call failed."""
    if reply is None or reply.outputs is None:
        return None
    if fault := _fault(target, reply.outputs, rows):
        return [Answer(fault=fault)] * rows
    outputs = {name: np.asarray(reply.outputs[name]) for name in target.outputs}
    return [_answer(subject, target, {name: array[row] for name, array in outputs.items()}) for row in range(rows)]


def _fault(target: Target, outputs: Any, rows: int) -> str:
    for name in target.outputs:
        if name not in outputs:
            return f"output {name} is missing"
        array = np.asarray(outputs[name])
        is_text = array.dtype.kind == "O"
        if is_text != (name == target.label) or (not is_text and array.dtype.kind != "f"):
            return f"output {name} is of type {array.dtype}"
        width = 1 if name in (target.label, target.score) else target.width
        if array.ndim < 1 or array.shape[0] != rows or (width > 0 and array[0].size != width):
            return f"output {name} has the shape {list(array.shape)} for {rows} samples, wanted {width} values each"
    return ""


def _answer(subject: Subject, target: Target, row: dict[str, NDArray[Any]]) -> Answer:
    for name, values in row.items():
        if name != target.label and not np.isfinite(values.astype(np.float64)).all():
            return Answer(fault="NaN or infinity")
    if target.vector:
        return Answer(vector=row[target.vector].astype(np.float64).reshape(-1))
    if target.scores:
        scores = row[target.scores].astype(np.float64).reshape(-1)
        return Answer(int(scores.argmax()), float(scores.max()), scores)
    text = row[target.label].reshape(-1)[0]
    names = [name.encode() for name in subject.network.labels]
    if text not in names:
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return Answer(fault=f'label "{shown[:40]}", which the contract does not have')
    confidence = float(row[target.score].reshape(-1)[0]) if target.score else float("nan")
    return Answer(names.index(text), confidence)


def compared(record: Record, target: Target | None, *purposes: Purpose) -> Iterator[Compared]:
    """Each sample of the pairs with one of the purposes, in the order in which they were asked."""
    for pair in record.of(target, *purposes):
        yield from of_pair(record, pair)


def of_pair(record: Record, pair: Pair) -> Sequence[Compared]:
    """Each sample of a pair, in the order of its rows. Every check reads all pairs at each look, so they are kept."""
    kept = record.read.get(id(pair))
    if kept is None:
        call, rows = pair.call, len(pair.call.positions)
        canary = answers_of(record.subject, call.target, pair.canary, rows)
        primary = answers_of(record.subject, call.target, pair.primary, rows)
        kept = record.read[id(pair)] = (
            pair,
            tuple(
                Compared(position, call.target, call.form, canary[row] if canary else None,
                         primary[row] if primary else None)
                for row, position in enumerate(call.positions)
            ),
        )  # fmt: skip
    return kept[1]


def cosine_distance(first: Answer, second: Answer) -> float:
    """1 - cosine of two embeddings, 0 to 2; 2 where one of them is none, or zero."""
    if first.vector is None or second.vector is None or first.vector.shape != second.vector.shape:
        return 2.0
    lengths = float(np.linalg.norm(first.vector) * np.linalg.norm(second.vector))
    return 1 - float(first.vector @ second.vector) / lengths if lengths else 2.0


def is_same(first: Answer, second: Answer) -> bool:
    """Whether one server gave both to the same sample, up to rounding."""
    if first.fault or second.fault:
        return first.fault == second.fault
    if first.vector is not None or second.vector is not None:
        return cosine_distance(first, second) <= 1 - SAME_COSINE
    if first.label != second.label:
        return not min(first.confidence, second.confidence) > SURE
    return not abs(first.confidence - second.confidence) > SAME_SCORE
