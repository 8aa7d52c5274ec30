"""Figures by name, from whichever source, as the parts of a reading."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ai102.top.reading import Goal, Model, Pipeline, Replica

# {name of the part: {figure: value}}; a figure that is missing or NaN is not known.
Figures = Mapping[str, Mapping[str, float]]


def pipelines_from_figures(figures: Figures, goals: Mapping[str, Goal]) -> tuple[Pipeline, ...]:
    """Of rate, ok, failed, refused (each per second), p50_s, p99_s, in_flight and capacity_used."""
    return tuple(_pipeline(name, _known(row), goals.get(name)) for name, row in figures.items())


def models_from_figures(figures: Figures) -> tuple[Model, ...]:
    """Of rate, executions, progress, requests, failures, busy_us, queue_us (each per second), waiting and p99_us."""
    return tuple(_model(name, _known(row)) for name, row in figures.items())


def replicas_from_figures(figures: Figures) -> tuple[Replica, ...]:
    """Of is_up, is_drained, in_flight, rate and answers."""
    return tuple(_replica(name, _known(row)) for name, row in figures.items())


def _pipeline(name: str, row: Mapping[str, float], goal: Goal | None) -> Pipeline:
    rate = row.get("rate", 0.0)
    judged = row.get("ok", 0.0) + row.get("failed", 0.0)
    return Pipeline(
        name,
        rate,
        success=row.get("ok", 0.0) / judged if judged else None,
        refused=row.get("refused", 0.0) / rate if rate else None,
        p50_s=row.get("p50_s"),
        p99_s=row.get("p99_s"),
        in_flight=row.get("in_flight"),
        capacity_used=row.get("capacity_used"),
        success_goal=goal.success if goal else None,
        p99_goal_s=goal.p99_s if goal else None,
    )


def _model(name: str, row: Mapping[str, float]) -> Model:
    requests, busy_us, queue_us = (row.get(key, 0.0) for key in ("requests", "busy_us", "queue_us"))
    return Model(
        name,
        row.get("rate", 0.0),
        row.get("executions", 0.0),
        p99_s=row["p99_us"] / 1e6 if row.get("p99_us") else None,
        mean_s=busy_us / requests / 1e6 if requests else None,
        queue_share=queue_us / busy_us if busy_us else None,
        in_flight=busy_us / 1e6,
        waiting=row.get("waiting"),
        failures=row.get("failures", 0.0),
        progress=row.get("progress"),
    )


def _replica(name: str, row: Mapping[str, float]) -> Replica:
    def fact(key: str) -> bool | None:
        return bool(row[key]) if key in row else None

    return Replica(name, fact("is_up"), fact("is_drained"), row.get("in_flight"), row.get("rate"), fact("answers"))


def _known(row: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if not math.isnan(value)}
