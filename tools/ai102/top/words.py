"""A judged reading for programs: one JSON object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ai102.top.reading import Model, Pipeline, Replica
from ai102.top.states import Judged, State

DIGITS = 6


def as_dict(judged: Judged) -> dict[str, Any]:
    """Rates are per second, times in seconds, shares from 0 to 1; null where the source does not know."""
    reading = judged.reading
    return {
        "source": reading.source,
        "time": round(reading.at_s, 3),
        "window_s": round(reading.window_s, 3),
        "wrong": judged.wrong,
        "capacity_used": _short(reading.capacity_used),
        "notes": list(reading.notes),
        "alerts": None if reading.alerts is None else list(reading.alerts),
        "pipelines": _rows(judged.pipelines),
        "models": [row | {"batch": _short(model.batch)} for row, (model, _) in
                   zip(_rows(judged.models), judged.models, strict=True)],
        "replicas": _rows(judged.replicas),
    }  # fmt: skip


def _rows(parts: Iterable[tuple[Pipeline | Model | Replica, State]]) -> list[dict[str, Any]]:
    return [
        {"state": state.word, "why": state.why} | {key: _short(value) for key, value in asdict(part).items()}
        for part, state in parts
    ]


def _short(value: Any) -> Any:
    return round(value, DIGITS) if isinstance(value, float) else value
