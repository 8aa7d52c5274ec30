"""Tokens that ended before their time: by id, by login session, or all of a user's up to a second."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ai102.issuer.database import Change


@dataclass(frozen=True)
class Page:
    """Some of the revocations in their order, each as [kind, value, ends_s, not_before_s].

    Whoever follows them asks for those after `next` and, when `feed` is another than before, for all of them.
    """

    feed: str
    next: int
    more: bool
    revoked: list[tuple[str, str, int, int]]


def revoke(change: Change, kind: Literal["jti", "sid"], value: str, ends_s: int) -> bool:
    """Until `ends_s`, when the last token it is about has expired anyway; False when that is so already.

    The first end is enough: what is revoked gets no new tokens.
    """
    _tidy(change)
    inserted = change.execute(
        "INSERT OR IGNORE INTO revocations (kind, value, ends_s) VALUES (?, ?, ?)", [kind, value, ends_s]
    )
    return inserted.rowcount > 0


def revoke_user(change: Change, user: str, lifetime_s: int) -> int:
    """All access tokens issued to `user` until the end of this second; gives the first second that is good again."""
    _tidy(change)
    # A clock that was set back makes no token good again.
    good_from_s = max(int(change.now_s) + 1, not_before_s(change.connection, user))
    change.execute(
        "INSERT OR REPLACE INTO revocations (kind, value, not_before_s, ends_s) VALUES ('sub', ?, ?, ?)",
        [user, good_from_s, good_from_s + lifetime_s],
    )
    return good_from_s


def not_before_s(connection: sqlite3.Connection, user: str) -> int:
    """A token of this user issued earlier is born revoked; 0 when there is no such second."""
    row = connection.execute("SELECT not_before_s FROM revocations WHERE kind = 'sub' AND value = ?", [user]).fetchone()
    return int(row[0]) if row else 0


def page_after(connection: sqlite3.Connection, number: int, now_s: float, limit: int) -> Page:
    """At most `limit` of the revocations that stand and were made after the one of that number."""
    feed = connection.execute("SELECT id FROM feed").fetchone()[0]
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'revocations'").fetchone()
    rows = connection.execute(
        "SELECT kind, value, ends_s, not_before_s, number FROM revocations WHERE number > ? AND ends_s > ? "
        "ORDER BY number LIMIT ?",
        [number, now_s, limit],
    ).fetchall()
    is_full = len(rows) == limit
    return Page(
        feed=feed,
        next=rows[-1][4] if is_full else last[0] if last else 0,
        more=is_full,
        revoked=[row[:4] for row in rows],
    )


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
