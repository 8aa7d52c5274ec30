"""The audit log: who did what to whom, when, from where, and how it ended; never a secret.

The table is the record and cannot be changed; the JSON lines beside it are for log shippers.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Outcome = Literal["ok", "refused"]
SCHEMA = """
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
"""
# People type their password where the user's name belongs: a name that is no user's is not written down.
NOBODY = "(no such user)"


@dataclass(frozen=True)
class Origin:
    """Who asks, and from where; `who` is "" for a caller that has yet to prove who it is."""

    address: str
    who: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Event:
    """One line of the log; `subject` is the user it is about, `detail` what else matters, without secrets."""

    what: str
    subject: str
    outcome: Outcome
    origin: Origin
    detail: Mapping[str, str]


def insert(connection: sqlite3.Connection, event: Event, now_s: float) -> str:
    """Write the event into the table; gives the JSON line to append once the transaction is through."""
    row = {
        "time": datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds"),
        "who": event.origin.who or event.subject,
        "what": event.what,
        "subject": event.subject,
        "address": event.origin.address,
        "request_id": event.origin.request_id,
        "outcome": event.outcome,
    }
    columns = ", ".join([*row, "detail"])
    marks = ", ".join("?" * (len(row) + 1))
    detail = dict(event.detail)
    cursor = connection.execute(
        f"INSERT INTO audit ({columns}) VALUES ({marks})", [*row.values(), json.dumps(detail, ensure_ascii=False)]
    )
    return json.dumps({"id": cursor.lastrowid, **row, **detail}, ensure_ascii=False)


def append(file: Path, lines: list[str]) -> None:
    """Add lines in one write, so that those of two processes do not mix."""
    handle = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, "".join(f"{line}\n" for line in lines).encode())
    finally:
        os.close(handle)
