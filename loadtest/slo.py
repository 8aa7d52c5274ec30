"""What a run must reach, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured of one model over one protocol; times are None where no answer came."""

    protocol: str
    model: str
    requests: int
    failures: int  # of `requests`
    per_s: float  # of answers that were no failure
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True)
class Goals:
    """None: not asked for."""

    p99_ms: Mapping[str, float]  # by model
    error_percent: float | None
    min_per_s: float | None


@dataclass(frozen=True)
class Gate:
    what: str
    wanted: str
    came: str
    passed: bool

    def __str__(self) -> str:
        return f"SLO {'met' if self.passed else 'MISSED'}: {self.what}: {self.came}, wanted {self.wanted}"


def gates(rows: Sequence[Row], expected: Sequence[tuple[str, str]], goals: Goals) -> list[Gate]:
    """One gate for each goal; `expected` are the (protocol, model) that load was meant for.

    What was not measured does not pass.
    """
    by_target = {(row.protocol, row.model): row for row in rows}
    found = []
    for protocol, model in expected:
        row, what = by_target.get((protocol, model)), f"p99 of {model} over {protocol}"
        wanted = f"at most {goals.p99_ms[model]:g} ms"
        if row is None or row.p99_ms is None:
            found.append(
                Gate(what, wanted, f"not measured: {'no answer came' if row else 'no request was made'}", False)
            )
        else:
            few = "" if row.requests >= 100 else f", the slowest of {row.requests}"
            found.append(Gate(what, wanted, f"{row.p99_ms:g} ms{few}", row.p99_ms <= goals.p99_ms[model]))
    requests, failures = sum(row.requests for row in rows), sum(row.failures for row in rows)
    if goals.error_percent is not None:
        wanted = f"at most {goals.error_percent:g} %"
        if requests:
            percent = 100 * failures / requests
            came = f"{percent:.3g} % ({failures} of {requests})"
            found.append(Gate("failed requests", wanted, came, percent <= goals.error_percent))
        else:
            found.append(Gate("failed requests", wanted, "not measured: no request was made", False))
    if goals.min_per_s is not None:
        per_s = sum(row.per_s for row in rows)
        came = f"{per_s:.1f} per second" if requests else "not measured: no request was made"
        found.append(Gate("good answers", f"at least {goals.min_per_s:g} per second", came, per_s >= goals.min_per_s))
    return found
