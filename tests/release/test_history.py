"""The history only grows, two processes may write it, and what is no history is one line."""

import multiprocessing
import shutil
import sqlite3
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.release import standing
from ai102.release.envelope import Envelope
from ai102.release.history import Event, History, Outcome, What, opened
from tests.release.documents import BUILT, release

WRITERS, EACH = 4, 10


def event(number: int = 0, what: What = "judged", outcome: Outcome = "ok", **detail: str) -> Event:
    return Event(f"2026-11-29T12:00:{number:02}+00:00", "r-1", what, "ann", outcome, place="here/ai102", detail=detail)


def write(file: Path, who: str) -> None:
    for number in range(EACH):
        History(file).record(Event(str(number), "r-1", "judged", who))


def test_a_history_that_nobody_wrote_is_empty_and_is_not_made_by_reading(tmp_path: Path) -> None:
    assert History(tmp_path / "h.db").events() == []
    assert list(tmp_path.iterdir()) == []


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    history.record(event(1, why="x"), event(2, "promoted", "failed", seen="ü"))
    assert history.events() == [event(1, why="x"), event(2, "promoted", "failed", seen="ü")]
    assert history.events("r-2") == []


@pytest.mark.parametrize("statement", ["UPDATE events SET who = 'eve'", "DELETE FROM events"])
def test_no_row_is_changed_or_removed(tmp_path: Path, statement: str) -> None:
    History(tmp_path / "h.db").record(event())
    with sqlite3.connect(tmp_path / "h.db") as connection, pytest.raises(sqlite3.IntegrityError, match="only grows"):
        connection.execute(statement)
    assert History(tmp_path / "h.db").events() == [event()]


def test_of_several_rows_all_are_written_or_none(tmp_path: Path) -> None:
    history = History(tmp_path / "h.db")
    history.record(event(1))
    with pytest.raises(sqlite3.IntegrityError):
        history.record(event(2), Event("3", "r-1", "eaten", "ann"))  # type: ignore[arg-type]
    assert history.events() == [event(1)]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(tmp_path / "h.db", str(number))) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    rows = History(tmp_path / "h.db").events()
    assert sorted((row.who, row.at) for row in rows) == [(str(w), str(n)) for w in range(WRITERS) for n in range(EACH)]


def test_a_writer_that_was_killed_leaves_the_rows_before(tmp_path: Path) -> None:
    """Its journal is there, and a part of its rows is in the file already: a reader undoes them."""
    History(tmp_path / "h.db").record(event())
    killed = tmp_path / "killed"
    killed.mkdir()
    connection = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
    connection.execute("PRAGMA cache_size = 2")
    connection.execute("BEGIN IMMEDIATE")
    row = ("now", "r-1", "judged", "ok", "ann", "x" * 5000, "", "{}")
    connection.executemany("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", [row] * 100)
    for file in ("h.db", "h.db-journal"):
        shutil.copy(tmp_path / file, killed)
    connection.execute("ROLLBACK")
    connection.close()
    assert (killed / "h.db").stat().st_size > 100_000
    assert History(killed / "h.db").events() == [event()]


def test_what_is_no_history_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("what is this" * 100)
    with pytest.raises(UserError, match="not the history of releases"):
        History(tmp_path / "text").events()
    with pytest.raises(UserError, match="it cannot be opened: look whether its folder is there"):
        History(tmp_path / "nowhere" / "h.db").record(event())
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(UserError, match="its schema is version 99 and this program knows 1: run a newer ai102"):
        History(tmp_path / "newer").record(event())


def test_a_url_names_the_file(tmp_path: Path) -> None:
    assert opened("", tmp_path).file == tmp_path / "history.db"
    assert opened(f"sqlite:///{tmp_path}/a%20b.db", tmp_path).file == tmp_path / "a b.db"
    assert opened("sqlite:///build/h.db", tmp_path).file == Path("build/h.db")
    for url in ("postgresql://db/x", "history.db", "sqlite://host/x", "sqlite:///"):
        with pytest.raises(UserError, match="write sqlite:///FILE"):
            opened(url, tmp_path)


STATES: dict[str, tuple[list[Event], str]] = {
    "nothing": ([], "built, not signed"),
    "promoted": ([event(1, "promoted", "started"), event(2, "promoted")], "in service in here/ai102"),
    "not ended": ([event(1, "promoted", "started")], "promotion not ended"),
    "not ready": ([event(1, "promoted", "started"), event(2, "promoted", "failed")], "was not ready"),
    "aborted": ([event(1, "promoted", "started"), event(2, "aborted", to="r-0")], "aborted"),
    "rolled back": ([event(1, "promoted"), event(2, "rolled-back", to="r-0")], "rolled back"),
    "way back failed": ([event(1, "promoted"), event(2, "rolled-back", "failed", to="r-0")], "in service in"),
    "replaced": ([event(1, "promoted"), Event("2", "r-2", "promoted", "ann", place="here/ai102")], "replaced"),
    "came back": ([event(1, "promoted"), Event("2", "r-2", "rolled-back", "ann", place="here/ai102",
                                               detail={"to": "r-1"})], "in service in here/ai102"),
    "judged": ([event(1, "judged", "failed")], "stopped by the gate"),
}  # fmt: skip


@pytest.mark.parametrize(("events", "state"), STATES.values(), ids=STATES)
def test_the_state_of_a_release_follows_from_its_history(events: list[Event], state: str) -> None:
    envelope = Envelope(release(), BUILT)
    renamed = [_renamed(each, envelope.name) for each in events]
    assert standing.state(envelope, renamed, ()).startswith(state)


def _renamed(one: Event, name: str) -> Event:
    """r-1 stands for the release."""
    facts = one.as_dict()
    detail = {key: name if value == "r-1" else value for key, value in facts["detail"].items()}
    return Event(**{**facts, "release": name if one.release == "r-1" else one.release, "detail": detail})
