"""The summary of a run, with machine and versions; a value that was not measured has the reason in its place."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ai102.host.cpu import cpu_name
from loadtest.slo import Gate, Row

DISTRIBUTIONS = ("ai102", "locust", "gevent", "grpcio", "urllib3", "tritonclient", "numpy")
NO_ANSWER = "not measured: no answer"


def three_digits(time_ms: float) -> float:
    """A response time rounded to three digits; Locust's own two digits would turn 104 ms into 100."""
    return round(time_ms, 2 - math.floor(math.log10(time_ms))) if time_ms > 0 else 0.0


def rows_from_stats(stats: Any) -> list[Row]:
    """Locust's statistics, by protocol and model."""
    seconds = seconds_of(stats)
    return [
        Row(
            protocol=entry.method,
            model=entry.name,
            requests=entry.num_requests,
            failures=entry.num_failures,
            per_s=(entry.num_requests - entry.num_failures) / seconds if seconds else 0.0,
            **_times(entry),
        )
        for _, entry in sorted(stats.entries.items())
        if entry.num_requests
    ]


def _times(entry: Any) -> dict[str, float | None]:
    keys = ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    if entry.num_requests == entry.num_none_requests:
        return dict.fromkeys(keys)
    percentiles = (entry.get_response_time_percentile(percent) for percent in (0.5, 0.95, 0.99))
    values = (entry.avg_response_time, *percentiles, entry.max_response_time)
    return {key: round(float(value), 3) for key, value in zip(keys, values, strict=True)}


def seconds_of(stats: Any) -> float:
    """The time from the first second with an answer to the last answer; workers start later than their master."""
    total = stats.total
    if not total.num_reqs_per_sec or total.last_request_timestamp is None:
        return 0.0
    return float(total.last_request_timestamp - max(total.start_time, min(total.num_reqs_per_sec)))


def summary(
    *,
    rows: Sequence[Row],
    gates: Sequence[Gate],
    expected: Sequence[tuple[str, str]],
    counts: Mapping[str, int | str],
    errors: Sequence[Mapping[str, Any]],
    load: Mapping[str, Any],
    servers: Mapping[str, str],
    seconds: float,
    reason: str = "",
) -> dict[str, Any]:
    """The summary as plain values. `reason`: why there was no run, if there was none."""
    absent = f"not measured: {reason or 'no request was sent'}"
    measured = {(row.protocol, row.model): row for row in rows}
    results = {
        f"{p} {model}": _values(measured[p, model]) if (p, model) in measured else absent for p, model in expected
    }
    verdict = ("passed" if all(gate.passed for gate in gates) else "failed") if gates else absent
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
        "gates": [asdict(gate) for gate in gates],
        "seconds": round(seconds, 1) if rows else absent,
        "results": results,
        "counts": dict(counts) if rows else absent,
        "errors": list(errors),
        "load": dict(load),
        "servers": dict(servers),
        "machine": machine(),
        "versions": versions(),
    }


def _values(row: Row) -> dict[str, Any]:
    values = {key: NO_ANSWER if value is None else value for key, value in asdict(row).items()}
    if row.requests:
        values["per_s"] = round(row.per_s, 2)
        values["error_percent"] = round(100 * row.failures / row.requests, 3)
    return values


def text_of(summary: Mapping[str, Any]) -> str:
    return json.dumps(summary, indent=1) + "\n"


def machine() -> dict[str, Any]:
    """The load generator's machine; in a distributed run, the master's."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    installed = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed
