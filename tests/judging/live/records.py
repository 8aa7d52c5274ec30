"""Made-up records of live answers."""

from __future__ import annotations

import numpy as np

from ai102.judging.live.record import Record, Row
from ai102_runtime.recording import sketches

MODEL = "classify_image"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def labelled(request_id: str, label: str = "seven", score: float = 0.95, model: str = MODEL) -> Record:
    return Record(request_id, model, (Row(label, score, None),))


def embedded(
    request_id: str, vector: np.ndarray[tuple[int], np.dtype[np.float64]], model: str = "embed_text"
) -> Record:
    (sketch,) = sketches(vector[None])
    return Record(request_id, model, (Row(None, None, tuple(sketch) if sketch else None),))


def failed(request_id: str, error: str = "failed") -> Record:
    return Record(request_id, MODEL, (), error)
