"""Login sessions and their refresh tokens, each good for one use."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass

from ai102.issuer.database import Change
from ai102.issuer.settings import Settings


@dataclass(frozen=True)
class Session:
    """One login; `scope` is "" for all roles of the user, or the roles it was narrowed to."""

    sid: str
    user: str
    scope: str
    ends_s: int


def start(change: Change, user: str, scope: str, settings: Settings) -> tuple[Session, str]:
    """A new session and its first refresh token."""
    change.execute("DELETE FROM sessions WHERE ends_s <= ?", [change.now_s])
    session = Session(secrets.token_hex(16), user, scope, int(change.now_s) + settings.session_lifetime_s)
    change.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", [session.sid, user, scope, session.ends_s])
    return session, next_token(change, session, settings)


def next_token(change: Change, session: Session, settings: Settings) -> str:
    """A refresh token: 256 random bits, of which only the SHA-256 is kept."""
    token = "r_" + secrets.token_urlsafe(32)
    ends_s = min(int(change.now_s) + settings.refresh_lifetime_s, session.ends_s)
    change.execute("INSERT INTO refresh_tokens VALUES (?, ?, ?, 0)", [_hash(token), session.sid, ends_s])
    return token


def session_of(connection: sqlite3.Connection, token: str, now_s: float) -> tuple[Session, bool] | None:
    """The session of a refresh token that has not expired, and whether the token was used before."""
    row = connection.execute(
        "SELECT s.sid, s.user, s.scope, s.ends_s, t.is_used FROM refresh_tokens t JOIN sessions s USING (sid) "
        "WHERE t.sha256 = ? AND t.ends_s > ?",
        [_hash(token), now_s],
    ).fetchone()
    return (Session(*row[:4]), bool(row[4])) if row else None


def use(change: Change, token: str) -> None:
    change.execute("UPDATE refresh_tokens SET is_used = 1 WHERE sha256 = ?", [_hash(token)])


def end(change: Change, sid: str) -> None:
    change.execute("DELETE FROM sessions WHERE sid = ?", [sid])


def end_all(change: Change, user: str) -> int:
    """How many there were."""
    return change.execute("DELETE FROM sessions WHERE user = ?", [user]).rowcount


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
