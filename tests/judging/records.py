"""Made-up records: a network of ten labels, a pipeline of its label and one of its scores, and replies to order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai102.contract import load
from ai102.judging.record import Call, MemoryReading, Pair, Purpose, Record, Reply
from ai102.judging.subject import Subject, Target

ROOT = Path(__file__).parents[2]
DIGITS = load(ROOT / "models.toml").networks["digits"]
SAMPLES = 200
LABELLER = Target("classify_image", "image", "image", "label", "score", "", "", 10, 100.0, 0.001, 64, 1)
SCORER = Target("score_image", "image", "image", "", "", "scores", "", 10, 100.0, 0.001, 64, 1)
LABELS = np.random.default_rng(7).integers(0, 10, SAMPLES)
# From a sample's position to its scores [10].
Scores = Callable[[int], NDArray[np.float64]]
Replies = Callable[[Target, int], Reply]


def right(position: int, sure: float = 0.95) -> NDArray[np.float64]:
    return towards(int(LABELS[position]), sure)


def towards(label: int, sure: float = 0.95) -> NDArray[np.float64]:
    scores = np.full(10, (1 - sure) / 9)
    scores[label] = sure
    return scores


def wrong(position: int) -> NDArray[np.float64]:
    return towards((int(LABELS[position]) + 1) % 10)


def reply(target: Target, rows: list[NDArray[np.float64]], milliseconds: float = 2.0) -> Reply:
    scores = np.stack(rows).astype(np.float32)
    if target.scores:
        return Reply({target.scores: scores}, milliseconds)
    names = np.array([[DIGITS.labels[row].encode()] for row in scores.argmax(axis=1)], object)
    return Reply({target.label: names, target.score: scores.max(axis=1, keepdims=True)}, milliseconds)


def failed(error: str = "boom", kind: str = "ServerFailedError") -> Reply:
    return Reply(None, 1.0, error, kind)


def record(
    canary: Scores = right,
    primary: Scores | None = right,
    *,
    replies: Replies | None = None,
    targets: tuple[Target, ...] = (LABELLER, SCORER),
    samples: int = SAMPLES,
) -> Record:
    """Each sample asked alone, by every pipeline; the canary gives the scores, or the whole replies."""
    subject = Subject("digits", DIGITS, targets, (b"item",) * samples, LABELS[:samples], "0" * 64, samples)
    made = Record(subject, asked=samples, is_complete=True)
    answers = replies or (lambda target, position: reply(target, [canary(position)]))
    for position in range(samples):
        made.pairs += [pair(target, "alone", position, answers, primary) for target in targets]
    return made


def pair(target: Target, purpose: Purpose, position: int, canary: Replies, primary: Scores | None = right) -> Pair:
    beside = None if primary is None else reply(target, [primary(position)])
    return Pair(Call(target, purpose, (position,)), canary(target, position), beside)


def with_memory(made: Record, bytes_a_call: float, noise: float = 0.0) -> Record:
    random = np.random.default_rng(1)
    for number in range(40):
        calls = 12 * number
        made.memory.append(MemoryReading(calls, 2e8 + bytes_a_call * calls + noise * random.standard_normal()))
    return made
