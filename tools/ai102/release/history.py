"""What happened to each release, as rows that are only ever added: an SQLite file.

Whoever brings another database writes a class with `record` and `events`, and a row in `opened`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from ai102.errors import UserError

What = Literal["built", "signed", "judged", "promoted", "aborted", "rolled-back"]
# "started": a rollout whose end is another row, or was not seen by this program.
Outcome = Literal["ok", "failed", "started"]
BUSY_TIMEOUT_S = 10.0
SCHEME = "sqlite:///"


def _one_of(column: str, words: Any) -> str:
    return f"{column} TEXT NOT NULL CHECK ({column} IN ({', '.join(repr(word) for word in get_args(words))}))"


# The schema as a list of steps: a file that had the first n of them gets the rest.
STEPS = (
    (
        f"""
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    release TEXT NOT NULL,
    {_one_of("what", What)},
    {_one_of("outcome", Outcome)},
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    place TEXT NOT NULL,
    detail TEXT NOT NULL
)""",
        "CREATE INDEX events_of_release ON events(release)",
        """
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the history only grows'); END""",
        """
CREATE TRIGGER events_are_not_cut BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the history only grows'); END""",
    ),
)
COLUMNS = ("at", "release", "what", "outcome", "who", "why", "place", "detail")
# What SQLite says that is nobody's defect, and what to do about it.
OUTSIDE = {
    "SQLITE_BUSY": f"another process has kept it for {BUSY_TIMEOUT_S:.0f} s: try again",
    "SQLITE_FULL": "the disk is full: free some space",
    "SQLITE_READONLY": "it may not be written: give this user the right, or name another one with --history",
    "SQLITE_IOERR": "the disk cannot be read or written: look at the system's log",
    "SQLITE_CANTOPEN": "it cannot be opened: look whether its folder is there and may be written",
}


@dataclass(frozen=True)
class Event:
    """`at` is ISO 8601 in UTC; `place` names context and namespace of a cluster; `detail` is what the step saw."""

    at: str
    release: str
    what: What
    who: str
    outcome: Outcome = "ok"
    why: str = ""
    place: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class History:
    """The file, made at the first event. Processes and threads may share it; every call has a connection of its own."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def record(self, *events: Event) -> None:
        """All of them, or none. Raises UserError when the file cannot be written."""
        with self._transaction() as connection:
            _insert(connection, events)

    def record_once(self, *events: Event) -> None:
        """Those of which there is no row with the same release, kind, time and person."""
        known = {_key(each) for each in self.events()}
        if all(_key(each) in known for each in events):
            return
        with self._transaction() as connection:
            rows = {_key(each) for each in _read(connection)}
            _insert(connection, [each for each in events if _key(each) not in rows])

    def events(self, release: str = "") -> list[Event]:
        """In the order of their writing; a file that may only be read is enough."""
        if not self.file.exists():
            return []
        # SQLite opens a file that may only be read so by itself; a journal of a killed writer needs the right to write.
        with self._reported(), contextlib.closing(self._connect("rw")) as connection:
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return []
            rows = _read(connection)
        return [each for each in rows if release in ("", each.release)]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reported(), contextlib.closing(self._connect("rwc")) as connection:
            # A promotion that was answered must outlive a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._upgrade(connection)
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _connect(self, mode: str) -> sqlite3.Connection:
        # Not in WAL mode: a folder that may only be read is then enough for reading.
        address = f"{self.file.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(STEPS):
            raise UserError(
                f"{self.file}: its schema is version {version} and this program knows {len(STEPS)}: run a newer ai102"
            )
        if version < len(STEPS):
            for statement in (statement for step in STEPS[version:] for statement in step):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(STEPS)}")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """What SQLite says of a file that is none, or that others hold, is one line."""
        try:
            yield
        except sqlite3.OperationalError as err:
            kind = "_".join(err.sqlite_errorname.split("_")[:2])  # SQLITE_READONLY_DIRECTORY is SQLITE_READONLY too
            if kind not in OUTSIDE:
                raise
            raise UserError(f"{self.file}: {OUTSIDE[kind]}") from err
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as err:
            raise UserError(
                f"{self.file}: not the history of releases ({err}): put a backup in its place or move it away"
            ) from err


def opened(url: str, folder: Path) -> History:
    """By its URL, sqlite:///FILE; without one history.db in `folder`. Raises UserError for another kind."""
    if not url:
        return History(folder / "history.db")
    parts = urlsplit(url)
    if not url.startswith(SCHEME) or not parts.path.removeprefix("/") or parts.query:
        raise UserError(f'--history "{url}": write sqlite:///FILE, or sqlite:////FILE from the root')
    return History(Path(unquote(parts.path.removeprefix("/"))))


def _insert(connection: sqlite3.Connection, events: Any) -> None:
    rows = [
        (
            each.at, each.release, each.what, each.outcome, each.who, each.why, each.place,
            json.dumps(each.detail, ensure_ascii=False, sort_keys=True),
        )
        for each in events
    ]  # fmt: skip
    marks = ", ".join("?" * len(COLUMNS))
    connection.executemany(f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({marks})", rows)


def _read(connection: sqlite3.Connection) -> list[Event]:
    rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY id").fetchall()
    return [_event(dict(zip(COLUMNS, row, strict=True))) for row in rows]


def _event(row: dict[str, Any]) -> Event:
    return Event(**{**row, "detail": json.loads(row["detail"])})


def _key(event: Event) -> tuple[str, str, str, str]:
    return event.release, event.what, event.at, event.who
