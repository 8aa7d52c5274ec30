"""A row of the access log as a call of a pipeline: which, over which protocol, how it ended, how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

Outcome = Literal["ok", "refused", "limited", "client_error", "failed", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PROTOCOLS = ("rest", "grpc")
# The pipeline of everything that is no inference with a pipeline of the contract.
OTHER = "other"
# A caller who leaves after so many times the goal did not change its mind: the answer was too late.
TIMES_TOO_LATE = 10.0
OTHER_GOAL_MS = 1000.0
# The verb of calls that follow jobs: they last as long as their callers want.
FOLLOWING = "own"
# What the proxies write for a limit on requests; other reasons are refusals.
LIMITED = ("rate_limited", "too many requests")
LEFT = "the caller left"
# Where HAProxy answers by itself: its own frontends, and the backend that refuses.
OWN_ANSWERS = ("rest", "grpc", "refusals")
# gRPC's numbers of what the server, not the caller, did wrong.
FAILED = frozenset({2, 4, 10, 13, 14, 15})
# What Triton answers when the caller cancelled, or the caller's own deadline passed.
CALLERS_END = (1, 4)
NOT_FOUND = {"rest": 404, "grpc": 5}


class UnreadableRowError(ValueError):
    """A row of another form than the proxies write."""


class Call(NamedTuple):
    pipeline: str
    protocol: str
    outcome: Outcome
    seconds: float  # from the request's first byte to the answer's last


def call_from_row(row: Mapping[str, Any], goals_ms: Mapping[str, float]) -> Call | None:
    """`goals_ms`: by pipeline, the p99 promised. None for a connection that brought no request.

    Raises UnreadableRowError.
    """
    try:
        return _call(row, goals_ms) if "id" in row else None
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise UnreadableRowError(f"no row of the access log: {type(err).__name__}: {err}") from err


def _call(row: Mapping[str, Any], goals_ms: Mapping[str, float]) -> Call:
    protocol = row["protocol"]
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}")
    pipeline = row["model"] if row["verb"] == "infer" and row["model"] in goals_ms else OTHER
    took_ms = max(0.0, float(row["milliseconds"]["all"] or 0))
    outcome = _outcome(row, protocol, is_known=pipeline != OTHER)
    is_late = row["verb"] != FOLLOWING and took_ms > TIMES_TOO_LATE * goals_ms.get(pipeline, OTHER_GOAL_MS)
    if outcome == "cancelled" and is_late:
        outcome = "failed"
    return Call(pipeline, protocol, outcome, took_ms / 1000)


def _outcome(row: Mapping[str, Any], protocol: str, *, is_known: bool) -> Outcome:
    refused, status, end = row["refused"], row["status"], row.get("end", "--")
    if status == 429 or refused.startswith(LIMITED):
        return "limited"
    if refused == LEFT or (end.startswith("C") and not refused):
        return "cancelled"
    code = row["grpc_status"] if protocol == "grpc" else status
    if protocol == "grpc" and code in CALLERS_END and not refused and not end.startswith("s"):
        return "cancelled"
    if end.startswith(("S", "s")):  # a replica did not end its answer, or not in time
        return "failed"
    if code is None and status == 200 and end.startswith("-") and "end" in row:
        return "ok"  # HAProxy does not see trailers: an answer with messages that ended well; Triton's errors have none
    is_failure = code in FAILED if protocol == "grpc" else not 0 < code < 500
    if is_failure or (code is None and not refused):
        return "failed"
    if code == 0 if protocol == "grpc" else code < 400:
        return "ok"
    if refused or row.get("backend") in OWN_ANSWERS:
        return "refused"
    # The contract has it and the replica does not.
    return "failed" if is_known and code == NOT_FOUND[protocol] else "client_error"
