"""users.db: one SQLite file in WAL mode that a server, its threads and the command line share."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from ai102.errors import UserError
from ai102.issuer import audit, private
from ai102.issuer.audit import Event, Origin, Outcome

BUSY_TIMEOUT_S = 5.0
# The schema as a list of steps: a file that had the first n of them gets the rest.
STEPS = (
    """
CREATE TABLE salt (value BLOB NOT NULL);
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    is_disabled INTEGER NOT NULL DEFAULT 0,
    created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE roles (
    user TEXT NOT NULL REFERENCES users(name), role TEXT NOT NULL, PRIMARY KEY (user, role)
) STRICT;
CREATE TABLE attributes (
    user TEXT NOT NULL REFERENCES users(name), name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (user, name)
) STRICT;
CREATE TABLE sessions (
    sid TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name), scope TEXT NOT NULL, ends_s INTEGER NOT NULL
) STRICT;
CREATE TABLE refresh_tokens (
    sha256 TEXT PRIMARY KEY,
    sid TEXT NOT NULL REFERENCES sessions(sid) ON DELETE CASCADE,
    ends_s INTEGER NOT NULL,
    is_used INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX refresh_tokens_of_session ON refresh_tokens(sid);
CREATE INDEX sessions_of_user ON sessions(user);
CREATE TABLE revocations (
    kind TEXT NOT NULL CHECK (kind IN ('jti', 'sid', 'sub')),
    value TEXT NOT NULL,
    not_before_s INTEGER NOT NULL DEFAULT 0,
    ends_s INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT;
CREATE TABLE failures (
    key TEXT PRIMARY KEY, count INTEGER NOT NULL, locked_until_s REAL NOT NULL, last_s REAL NOT NULL,
    is_told INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
    + audit.SCHEMA,
    # Numbered in the order of their commits, so that whoever follows them asks for what is new. `feed` tells one
    # database from another: a number of one means nothing in the other.
    """
CREATE TABLE numbered_revocations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('jti', 'sid', 'sub')),
    value TEXT NOT NULL,
    not_before_s INTEGER NOT NULL DEFAULT 0,
    ends_s INTEGER NOT NULL,
    UNIQUE (kind, value)
) STRICT;
INSERT INTO numbered_revocations (kind, value, not_before_s, ends_s)
    SELECT kind, value, not_before_s, ends_s FROM revocations;
DROP TABLE revocations;
ALTER TABLE numbered_revocations RENAME TO revocations;
CREATE INDEX revocations_by_end ON revocations(ends_s);
CREATE TABLE feed (id TEXT NOT NULL) STRICT;
INSERT INTO feed VALUES (lower(hex(randomblob(8))));
""",
)


class DatabaseError(UserError):
    """SQLite could not do it, for a reason outside this program: locked, full, read-only."""


# What SQLite says that is nobody's defect, and what to do about it.
OUTSIDE = {
    "SQLITE_BUSY": f"another process has kept it for {BUSY_TIMEOUT_S:.0f} s: try again",
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_READONLY": "it may not be written: give this user the right, or name another folder with --home",
    "SQLITE_IOERR": "the disk cannot be read or written: look at the system's log",
    "SQLITE_CANTOPEN": "it cannot be opened: look whether its folder is there and may be written",
}


class Change:
    """One transaction: all of it becomes true at once, with its lines of the audit log, or none."""

    def __init__(self, connection: sqlite3.Connection, now_s: float) -> None:
        self.connection = connection
        self.now_s = now_s
        self.execute = connection.execute
        self.lines: list[str] = []

    def record(self, what: str, subject: str, origin: Origin, outcome: Outcome = "ok", **detail: str) -> None:
        """Add a line to the audit log."""
        self.lines.append(audit.insert(self.connection, Event(what, subject, outcome, origin, detail), self.now_s))


class Database:
    """The file, made when missing. Any thread may use it; every `with` takes a connection of its own."""

    def __init__(
        self,
        file: Path,
        audit_file: Path,
        clock: Callable[[], float] = time.time,
        mask: Callable[[str], str] = lambda line: line,
    ) -> None:
        """`mask` is what each line of the audit file goes through; the table in the database is the whole record."""
        self._mask = mask
        self.file = private.file(file)
        self.audit_file = private.file(audit_file)
        self._clock = clock
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._upgrade()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of the state."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def change(self) -> Iterator[Change]:
        """A transaction that is committed when the block ends well and undone otherwise."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            change = Change(connection, self._clock())
            yield change
        if change.lines:
            audit.append(self.audit_file, [self._mask(line) for line in change.lines])

    def salt(self) -> bytes:
        """A secret of this file, for hashes that must not be looked up in a table."""
        with self.reading() as connection:
            return bytes(connection.execute("SELECT value FROM salt").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect()
            connection.execute(begin)
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except BaseException as err:
            if connection is not None:
                connection.close()
            if isinstance(err, sqlite3.OperationalError):
                kind = "_".join(err.sqlite_errorname.split("_")[:2])  # SQLITE_BUSY_SNAPSHOT is SQLITE_BUSY too
                if kind in OUTSIDE:
                    raise DatabaseError(f"{self.file}: {OUTSIDE[kind]}") from err
            raise
        with self._lock:
            self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # A revocation that was answered must outlive a power cut; in WAL mode NORMAL does not promise it.
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self) -> None:
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            with self._transaction("BEGIN IMMEDIATE") as connection:
                version = int(connection.execute("PRAGMA user_version").fetchone()[0])
                if version > len(STEPS):
                    raise UserError(
                        f"{self.file}: its schema is version {version} and this program knows {len(STEPS)}: "
                        "run the newer program that wrote it"
                    )
                for step in STEPS[version:]:
                    for statement in _statements(step):
                        connection.execute(statement)
                if version == 0:
                    connection.execute("INSERT INTO salt VALUES (?)", [secrets.token_bytes(32)])
                connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as err:
            raise UserError(
                f"{self.file}: not a SQLite file ({err}): put a backup in its place or move it away"
            ) from err


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit in between, so the script is cut into its statements here."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
