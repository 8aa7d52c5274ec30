"""The API's requests about jobs and what its answers hold; no network here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from numpy.typing import NDArray

from ai102.client.errors import BadAnswerError
from ai102.client.jobs.items import arrays_from_outputs

# The API's own limits for one call.
MAX_JOBS = 1000
MAX_IDS = 1000
# Below the API's limit of 32 MiB, so that a call that has to be sent again costs seconds at most.
MAX_BODY_BYTES = 8_000_000
FINAL_STATES = frozenset({"succeeded", "failed", "dead", "cancelled", "expired"})
# The server no longer has it; a state of results alone.
GONE = "gone"


class JobResult(NamedTuple):
    """What became of a job.

    `state` is succeeded, failed (the model refused the input), dead (given up), cancelled, expired or, from
    as_completed alone, gone (the server has no such job). `outputs` are arrays by name without the batch dimension, as
    Client.infer has them; empty unless it succeeded.
    """

    id: str
    state: str
    outputs: Mapping[str, NDArray[Any]]
    error: str = ""


class JobStatus(NamedTuple):
    """A job without its outputs. `state` is queued, running, or one of JobResult's; times have a time zone."""

    id: str
    state: str
    model: str
    priority: str
    accepted: datetime
    key: str = ""
    not_after: datetime | None = None
    ended: datetime | None = None
    kept_until: datetime | None = None
    error: str = ""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Ask:
    """One request. Each may be sent again: a job has a key, and the others change nothing the second time."""

    method: str
    path: str
    body: bytes = field(default=b"", repr=False)
    model: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    job: str = ""  # the one that it is about
    is_safe_to_repeat = True


def handing_in(model: str, rows: Sequence[bytes]) -> Ask:
    return Ask("POST", "/v1/jobs", b'{"jobs":[' + b",".join(rows) + b"]}", model)


def asking_for_ended(ids: Sequence[str], wait_s: float) -> Ask:
    return Ask("POST", f"/v1/jobs/ended?wait={wait_s:.3f}s", json.dumps({"ids": list(ids)}).encode())


def asking_for_one(id: str, wait_s: float = 0.0) -> Ask:
    return Ask("GET", f"/v1/jobs/{quote(id, safe='')}?wait={wait_s:.3f}s", job=id)


def cancelling(id: str) -> Ask:
    return Ask("POST", f"/v1/jobs/{quote(id, safe='')}/cancel", job=id)


def listing(state: str, before: str, limit: int) -> Ask:
    query = {"state": state, "before": before, "limit": str(limit)}
    return Ask("GET", "/v1/jobs?" + urlencode({name: value for name, value in query.items() if value}))


def parts_of(rows: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The rows in the lists that one request each hands in; a row that is too large for any goes alone."""
    part: list[bytes] = []
    size = 0
    for row in rows:
        if part and (len(part) == MAX_JOBS or size + len(row) >= MAX_BODY_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row) + 1
    if part:
        yield part


def answers_to_rows(document: Mapping[str, Any], count: int) -> list[Mapping[str, Any]]:
    """What came of each of `count` jobs handed in: an object with id, or one with problem. Raises BadAnswerError."""
    rows = document.get("jobs")
    if (
        not isinstance(rows, list)
        or len(rows) != count
        or not all(
            isinstance(row, dict) and (isinstance(row.get("id"), str) or isinstance(row.get("problem"), dict))
            for row in rows
        )
    ):
        raise BadAnswerError(f"the answer to {count} jobs is not one id or problem for each: name the API itself")
    return rows


def status_from_row(row: Any) -> JobStatus:
    """Raises BadAnswerError."""
    try:
        return JobStatus(
            row["id"], row["state"], row["model"], row["priority"], datetime.fromisoformat(row["accepted"]),
            row.get("key", ""), _moment(row, "not_after"), _moment(row, "ended"), _moment(row, "kept_until"),
            row.get("error", ""),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise BadAnswerError(f"a job is not as the API writes it ({err}): name the API itself") from err


def statuses_from_page(document: Mapping[str, Any]) -> list[JobStatus]:
    """Raises BadAnswerError."""
    rows = document.get("jobs")
    if not isinstance(rows, list):
        raise BadAnswerError("the list of jobs is not as the API writes it: name the API itself")
    return [status_from_row(row) for row in rows]


def result_from_row(row: Any) -> JobResult:
    """Raises BadAnswerError."""
    try:
        return JobResult(row["id"], row["state"], arrays_from_outputs(row.get("outputs", ())), row.get("error", ""))
    except (KeyError, TypeError, AttributeError) as err:
        raise BadAnswerError(f"a job is not as the API writes it ({err}): name the API itself") from err


def results_from_ended(document: Mapping[str, Any]) -> list[JobResult]:
    """Those that have ended, and those that are gone. Raises BadAnswerError."""
    rows, gone = document.get("jobs"), document.get("gone")
    if not isinstance(rows, list) or not isinstance(gone, list):
        raise BadAnswerError("the list of ended jobs is not as the API writes it: name the API itself")
    why = "the server has no such job: it is another server, or the result was kept only for a time"
    return [*(result_from_row(row) for row in rows), *(JobResult(str(id), GONE, {}, why) for id in gone)]


def _moment(row: Mapping[str, Any], key: str) -> datetime | None:
    return datetime.fromisoformat(row[key]) if row.get(key) else None
