"""What Fluent Bit has read of the spool is removed, and nothing else."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.logs.follow.run import remove_read
from ai102.logs.follow.spool import segment_path, segments

# As Fluent Bit 5.0.9 makes it.
TABLE = """CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, inode INTEGER,
created INTEGER, rotated INTEGER DEFAULT 0, offset_marker INTEGER DEFAULT 0, offset_marker_size INTEGER DEFAULT 0)"""


def database(file: Path, rows: list[tuple[str, int, int]]) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(TABLE)
        connection.executemany("INSERT INTO in_tail_files (name, offset, inode, created) VALUES (?, ?, ?, 0)", rows)


def test_files_that_were_read_to_their_end_are_removed(tmp_path: Path) -> None:
    paths = {number: segment_path(tmp_path, number) for number in range(1, 6)}
    for path in paths.values():
        path.write_bytes(b"x" * 100)
    inode = {number: path.stat().st_ino for number, path in paths.items()}
    rows = [
        (str(paths[1]), 100, inode[1]),
        (str(paths[2]), 99, inode[2]),
        ("/gone/masked-000000000009.jsonl", 100, inode[3]),  # of a file that had the inode before
        (str(paths[5]), 100, inode[5]),  # the newest stays
    ]
    database(tmp_path / "tail.db", rows)
    remove_read(tmp_path, tmp_path / "tail.db")
    assert [number for number, _ in segments(tmp_path)] == [2, 3, 4, 5]


def test_a_database_that_is_not_there_yet_removes_nothing(tmp_path: Path) -> None:
    segment_path(tmp_path, 1).write_bytes(b"x")
    segment_path(tmp_path, 2).write_bytes(b"x")
    remove_read(tmp_path, tmp_path / "tail.db")
    assert len(segments(tmp_path)) == 2


def test_another_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tail.db").write_text("no database", encoding="utf-8")
    with pytest.raises(UserError, match="--read-by"):
        remove_read(tmp_path, tmp_path / "tail.db")
