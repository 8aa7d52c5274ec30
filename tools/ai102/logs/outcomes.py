"""How a call in the gateway's access log ended, in the words of the gateway's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Outcome = Literal["ok", "refused", "limited", "client_error", "failed", "cancelled"]
# What the proxies write for a limit on requests; other reasons are refusals.
LIMITED = ("rate_limited", "too many requests")
LEFT = "the caller left"
# gRPC's numbers of what the server, not the caller, did wrong; and of what the caller ended.
FAILED = frozenset({2, 4, 10, 13, 14, 15})
CANCELLED = 1


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """For a row of either proxy, also one of a connection that brought no request."""
    refused, status, end = str(row.get("refused") or ""), row.get("status"), str(row.get("end") or "")
    is_grpc = row.get("protocol") == "grpc"
    code = row.get("grpc_status") if is_grpc else status
    if status == 429 or refused.startswith(LIMITED):
        return "limited"
    if refused == LEFT or (end.startswith("C") and not refused) or (is_grpc and code == CANCELLED):
        return "cancelled"
    if end.upper().startswith("S"):  # a replica did not end its answer, or not in time
        return "failed"
    if is_grpc and code is None and status == 200 and end.startswith("-"):
        return "ok"  # HAProxy sees no trailers: an answer with messages that ended well; Triton's errors have none
    is_failure = code in FAILED if is_grpc else not isinstance(code, int) or code >= 500
    if is_failure or (code is None and not refused):
        return "failed"
    if not refused and (code == 0 if is_grpc else isinstance(code, int) and 0 < code < 400):
        return "ok"
    return "refused" if refused else "client_error"
