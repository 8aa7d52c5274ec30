"""Tokens that ended before their time: by id, by login session, or all of a user's up to a second."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Literal

from ai102.issuer.database import Change


def revoke(change: Change, kind: Literal["jti", "sid"], value: str, ends_s: int) -> None:
    """`ends_s`: when the last token it is about has expired anyway."""
    _tidy(change)
    change.execute(
        "INSERT INTO revocations (kind, value, ends_s) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET ends_s = max(ends_s, excluded.ends_s)",
        [kind, value, ends_s],
    )


def revoke_user(change: Change, user: str, lifetime_s: int) -> int:
    """All access tokens issued to `user` until the end of this second; gives the first second that is good again."""
    _tidy(change)
    not_before_s = int(change.now_s) + 1
    change.execute(
        "INSERT INTO revocations VALUES ('sub', ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "not_before_s = max(not_before_s, excluded.not_before_s), ends_s = max(ends_s, excluded.ends_s)",
        [user, not_before_s, not_before_s + lifetime_s],
    )
    return not_before_s


def not_before_s(connection: sqlite3.Connection, user: str) -> int:
    """A token of this user issued earlier is born revoked; 0 when there is no such second."""
    row = connection.execute("SELECT not_before_s FROM revocations WHERE kind = 'sub' AND value = ?", [user]).fetchone()
    return int(row[0]) if row else 0


def standing(connection: sqlite3.Connection, now_s: float) -> dict[str, dict[str, int]]:
    """{"jti": {id: end}, "sid": {id: end}, "sub": {user: not_before}}, all in seconds since the epoch."""
    listed: dict[str, dict[str, int]] = {"jti": {}, "sid": {}, "sub": {}}
    rows = connection.execute("SELECT kind, value, not_before_s, ends_s FROM revocations WHERE ends_s > ?", [now_s])
    for kind, value, not_before, ends in rows:
        listed[kind][value] = not_before if kind == "sub" else ends
    return listed


def is_revoked(connection: sqlite3.Connection, claims: Mapping[str, Any]) -> bool:
    """Of an access token that has not expired."""
    row = connection.execute(
        "SELECT 1 FROM revocations WHERE (kind, value) IN (VALUES ('jti', ?), ('sid', ?)) "
        "OR (kind = 'sub' AND value = ? AND not_before_s > ?)",
        [claims["jti"], claims["sid"], claims["sub"], claims["iat"]],
    ).fetchone()
    return row is not None


def _tidy(change: Change) -> None:
    change.execute("DELETE FROM revocations WHERE ends_s <= ?", [change.now_s])
