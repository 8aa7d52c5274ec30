"""The gateway's access log as tests read it: while it is written, and the last line perhaps not whole."""

import json
from pathlib import Path
from typing import Any

from tests.gateway.conftest import wait_until


def whole_lines(log: Path) -> list[str]:
    return [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def rows(log: Path) -> list[dict[str, Any]]:
    """A row for each request. What HAProxy says of itself, as when it stops, begins with no brace."""
    return [json.loads(line) for line in whole_lines(log) if line.startswith("{")]


def failed_rows(log: Path) -> list[dict[str, Any]]:
    """The rows of answers that are not good, or were cut: HAProxy's "end" says by whom and when, as in "SD"."""
    return [row for row in rows(log) if row["status"] >= 500 or row.get("grpc_status") or was_cut(row)]


def was_cut(row: dict[str, Any]) -> bool:
    """Whether HAProxy could not finish an answer that it had begun."""
    return str(row.get("end", "")).startswith("SD")


def row_of(log: Path, request_id: str) -> dict[str, Any]:
    """The row of a request once it is there: it is written after the answer was sent."""
    wait_until(lambda: any(row.get("id") == request_id for row in rows(log)), f"a row for {request_id}")
    return next(row for row in rows(log) if row.get("id") == request_id)
