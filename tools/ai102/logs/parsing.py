"""A line of any log as one document of the Elastic Common Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ai102.logs import rows
from ai102.logs.document import ECS_VERSION, Document, moment, put, timestamp
from ai102.logs.rows import GoalsMs
from ai102.logs.texts import TEXTS, Mask
from ai102.masking.stream import record_from_text

TIMES = ("time", "@timestamp", "timestamp", "ts")
NO_GOALS: GoalsMs = {}


class RowFormat(NamedTuple):
    """Rows that have all of `keys`; `service` is whose they are, "" for any."""

    name: str
    service: str
    keys: frozenset[str]
    read: Callable[[Mapping[str, Any], Document, GoalsMs], None]


ROWS = (
    RowFormat("gateway", "gateway", frozenset({"time", "protocol", "address", "status", "refused"}), rows.gateway),
    RowFormat("api", "api", frozenset({"time", "request_id", "route", "status", "ms"}), rows.api),
    RowFormat("audit", "issuer", frozenset({"time", "who", "what", "subject", "outcome"}), rows.audit),
    RowFormat("json", "", frozenset(), rows.other),
)


def document_from_line(
    line: str,
    *,
    origin: Mapping[str, Any],
    read_at: datetime,
    written_at: datetime | None = None,
    mask: Mask = str,
    goals_ms: GoalsMs = NO_GOALS,
) -> Document:
    """`origin`: dotted fields that hold for the whole file. `written_at`: when the container runtime got the line.
    `mask`: for a text whose escapes are read here, and so were not read when the line was masked. `goals_ms`: by
    pipeline of the contract, the p99 promised; without them no pipeline is known.

    What no format knows becomes a document with the line as its message.
    """
    document: Document = {"@timestamp": ""}
    for name, value in origin.items():
        put(document, name, value)
    stated = _read_row(line, document, goals_ms) if line.startswith("{") else None
    if "event" not in document:
        stated = _read_text(line, document, written_at or read_at, mask)
    put(document, "ecs.version", ECS_VERSION)
    put(document, "event.kind", "event")
    if "log" not in document or "level" not in document["log"]:
        put(document, "log.level", "info")
    if "name" not in document.get("service", {}):
        put(document, "service.name", "unknown")
    document["@timestamp"] = timestamp(stated or written_at, read_at)
    return document


def _read_row(line: str, document: Document, goals_ms: GoalsMs) -> datetime | None:
    row = record_from_text(line)  # what the masker took for a text stays one: its escapes may hide something
    if row is None:
        return None
    form = next(form for form in ROWS if row.keys() >= form.keys)
    put(document, "event.dataset", f"ai102.{form.name}")
    put(document, "service.name", form.service)
    form.read(row, document, goals_ms)
    return next((stated for key in TIMES if (stated := moment(row.get(key)))), None)


def _read_text(line: str, document: Document, near: datetime, mask: Mask) -> datetime | None:
    for form in TEXTS:
        if match := form.form.fullmatch(line):
            put(document, "event.dataset", f"ai102.{form.name}")
            # Kubernetes' own programs write as Triton does, from Go.
            is_other = form.name == "triton" and match["file"].endswith(".go")
            put(document, "service.name", "" if is_other else form.service)
            return form.read(match, document, near, mask)
    put(document, "event.dataset", "ai102.text")
    put(document, "message", line)
    return None
