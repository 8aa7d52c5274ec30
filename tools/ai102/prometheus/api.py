"""Queries to a Prometheus over its HTTP API."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ai102.errors import UserError
from ai102.prometheus.fetching import NoAnswerError, fetched

TIMEOUT_S = 5.0

Labels = Mapping[str, str]


class Sample(NamedTuple):
    """One series of an instant query."""

    labels: Labels
    value: float


class Series(NamedTuple):
    """One series of a range query: (seconds since 1970, value) in order of time."""

    labels: Labels
    points: tuple[tuple[float, float], ...]


class QueryError(UserError):
    """A query that Prometheus does not take, in its words."""


def instant(url: str, expression: str, at_s: float | None = None) -> list[Sample]:
    """The value of `expression` now, or at `at_s`. Raises NoAnswerError or QueryError."""
    data = _asked(url, "query", {"query": expression} | ({} if at_s is None else {"time": f"{at_s:.3f}"}))
    if data["resultType"] == "scalar":
        return [Sample({}, float(data["result"][1]))]
    return [Sample(row["metric"], float(row["value"][1])) for row in data["result"]]


def over_time(url: str, expression: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
    """The values of `expression` from `start_s` to `end_s`, one each `step_s`. Raises NoAnswerError or QueryError."""
    window = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
    data = _asked(url, "query_range", {"query": expression} | window)
    return [
        Series(row["metric"], tuple((float(at), float(value)) for at, value in row["values"])) for row in data["result"]
    ]


def label_values(url: str, label: str, selector: str) -> list[str]:
    """The values that `label` has in the series of `selector`. Raises NoAnswerError or QueryError."""
    values: list[str] = _asked(url, f"label/{label}/values", {"match[]": selector})
    return values


def firing_alerts(url: str) -> list[Labels]:
    """The labels of each alert that fires, `alertname` among them. Raises NoAnswerError."""
    alerts: Sequence[Mapping[str, Any]] = _asked(url, "alerts", {})["alerts"]
    return [alert["labels"] for alert in alerts if alert["state"] == "firing"]


def _asked(url: str, path: str, parameters: Mapping[str, str]) -> Any:
    address = f"{url.rstrip('/')}/api/v1/{path}"
    if parameters:
        address += "?" + urllib.parse.urlencode(parameters)
    text = fetched(address, TIMEOUT_S, takes_errors=True)
    try:
        answer = json.loads(text)
        if answer["status"] == "success":
            return answer["data"]
        complaint = str(answer["error"])
    except (ValueError, TypeError, KeyError) as err:
        raise NoAnswerError(f"{url} answers, but not as a Prometheus does: give the address of one") from err
    raise QueryError(f"{url} does not take {parameters.get('query', path)}: {complaint}")
