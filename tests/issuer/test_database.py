"""users.db: closed to others, whole or not at all, and shared by threads and processes."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.issuer import private, revocations, users
from ai102.issuer.audit import Origin
from ai102.issuer.database import STEPS, Database, DatabaseError

HERE = Origin("192.0.2.1", who="test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return private.folder(tmp_path / "auth")


def opened(folder: Path) -> Database:
    return Database(folder / "users.db", folder / "audit.jsonl")


def test_no_file_of_it_may_be_read_by_others(folder: Path) -> None:
    with opened(folder) as database, database.change() as change:
        change.record("something", "alice", HERE)
        modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}
    assert modes == dict.fromkeys(["users.db", "users.db-wal", "users.db-shm", "audit.jsonl"], "0o600")


def half_a_change(database: Database) -> None:
    with database.change() as change:
        users.add(change, "alice", "hash", ["caller"])
        change.record("user add", "alice", HERE)
        users.describe(change, "alice", {"9": "x"})


def test_a_change_that_fails_leaves_nothing_behind(folder: Path) -> None:
    with opened(folder) as database:
        with pytest.raises(UserError, match="names no attribute"):
            half_a_change(database)
        with database.reading() as connection:
            found = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("users", "audit")]
    assert (found, (folder / "audit.jsonl").read_text()) == ([0, 0], "")


def test_threads_of_two_openers_change_it_at_once(folder: Path) -> None:
    openers = [opened(folder), opened(folder)]

    def add(number: int) -> None:
        with openers[number % 2].change() as change:
            users.add(change, f"user{number}", "hash", [])
            change.record("user add", f"user{number}", HERE)

    threads = [threading.Thread(target=add, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with openers[0].reading() as connection:
        count = len(users.all_users(connection))
    for opener in openers:
        opener.close()
    assert (count, len((folder / "audit.jsonl").read_text().splitlines())) == (40, 40)


def from_the_future(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def test_revocations_of_the_former_schema_stand_and_are_numbered(folder: Path) -> None:
    file = private.file(folder / "users.db")
    with contextlib.closing(sqlite3.connect(file)) as former:
        former.executescript(STEPS[0])
        former.execute("INSERT INTO salt VALUES (x'00')")
        former.executemany("INSERT INTO revocations VALUES (?, ?, ?, ?)", [("sid", "a", 0, 90), ("sub", "b", 40, 80)])
        former.execute("PRAGMA user_version = 1")
        former.commit()
    with opened(folder) as database, database.reading() as connection:
        page = revocations.page_after(connection, 0, 50.0, 10)
    assert (page.revoked, page.next, len(page.feed)) == ([("sid", "a", 90, 0), ("sub", "b", 80, 40)], 2, 16)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no database": (lambda file: file.write_bytes(b"hello " * 1000), "not a SQLite file"),
    "of a later version": (from_the_future, r"its schema is version 99 and this program knows 2"),
    "readable": (lambda file: file.chmod(0o640), "its mode is 0640"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(folder: Path, how: str) -> None:
    opened(folder).close()
    work, message = SPOILT[how]
    work(folder / "users.db")
    with pytest.raises(UserError, match=message) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def test_a_database_that_another_process_keeps_is_told_in_one_line(folder: Path) -> None:
    with opened(folder) as database, contextlib.closing(sqlite3.connect(folder / "users.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with database.reading() as connection:
            connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(DatabaseError, match="another process has kept it"), database.change():
            pass
        other.rollback()
        with database.change() as change:
            users.add(change, "alice", "hash", [])
