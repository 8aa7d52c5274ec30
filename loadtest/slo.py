"""The goals of a run, and whether it met them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """The measurements of one model over one protocol; times are None without an answer."""

    protocol: str
    model: str
    requests: int
    failures: int  # of `requests`
    per_s: float  # answers that are not failures
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True)
class Goals:
    """The goals; None: no goal."""

    p99_ms: Mapping[str, float]  # by model
    error_percent: float | None
    min_per_s: float | None


@dataclass(frozen=True)
class Gate:
    what: str
    goal: str
    measured: str
    passed: bool

    def __str__(self) -> str:
        return f"SLO {'met' if self.passed else 'MISSED'}: {self.what}: {self.measured}, goal {self.goal}"


def gates(rows: Sequence[Row], expected: Sequence[tuple[str, str]], goals: Goals) -> list[Gate]:
    """One gate for each goal; `expected` holds the (protocol, model) pairs that should get load.

    A goal that was not measured is not met.
    """
    by_target = {(row.protocol, row.model): row for row in rows}
    checked = []
    for protocol, model in expected:
        row, what = by_target.get((protocol, model)), f"p99 of {model} over {protocol}"
        goal = f"at most {goals.p99_ms[model]:g} ms"
        if row is None or row.p99_ms is None:
            checked.append(Gate(what, goal, f"not measured: {'no answer' if row else 'no request was sent'}", False))
        else:
            few = "" if row.requests >= 100 else f", the slowest of {row.requests}"
            checked.append(Gate(what, goal, f"{row.p99_ms:g} ms{few}", row.p99_ms <= goals.p99_ms[model]))
    requests, failures = sum(row.requests for row in rows), sum(row.failures for row in rows)
    if goals.error_percent is not None:
        goal = f"at most {goals.error_percent:g} %"
        if requests:
            percent = 100 * failures / requests
            measured = f"{percent:.3g} % ({failures} of {requests})"
            checked.append(Gate("failed requests", goal, measured, percent <= goals.error_percent))
        else:
            checked.append(Gate("failed requests", goal, "not measured: no request was sent", False))
    if goals.min_per_s is not None:
        per_s = sum(row.per_s for row in rows)
        measured = f"{per_s:.1f} per second" if requests else "not measured: no request was sent"
        checked.append(
            Gate("good answers", f"at least {goals.min_per_s:g} per second", measured, per_s >= goals.min_per_s)
        )
    return checked
