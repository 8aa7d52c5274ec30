"""What was handed in and what came of it, beside the output: a run that was killed goes on from here."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from ai102.client import JobResult
from ai102.errors import UserError
from ai102.jobs.submit.cells import Cell, Column, cells_from_outputs, columns_from_outputs
from ai102.jobs.submit.files import Entry, Refused

FORMAT = 1
REFUSED, GONE = "refused", "gone"
# A server that loses the job of a file so often would lose it for ever.
MAX_TRIES = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, run INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, job TEXT, state TEXT, error TEXT NOT NULL DEFAULT '', outputs TEXT
);
CREATE INDEX IF NOT EXISTS unsent ON files (path) WHERE job IS NULL AND state IS NULL;
CREATE INDEX IF NOT EXISTS waiting ON files (path) WHERE job IS NOT NULL AND state IS NULL;
CREATE INDEX IF NOT EXISTS of_job ON files (job);
CREATE TABLE IF NOT EXISTS columns (name TEXT, kind TEXT, rank INTEGER, PRIMARY KEY (name, kind, rank));
"""
# A file that changed since is another input, handed in under another key; one that failed here may be better now.
_FOUND = """
INSERT INTO files (path, size, mtime_ns, run) VALUES (?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET
    run = excluded.run, tries = 0,
    job = CASE WHEN {stays} THEN job END,
    state = CASE WHEN {stays} THEN state END,
    error = CASE WHEN {stays} THEN error ELSE '' END,
    outputs = CASE WHEN {stays} THEN outputs END,
    size = excluded.size, mtime_ns = excluded.mtime_ns
""".format(
    stays="size = excluded.size AND mtime_ns = excluded.mtime_ns AND coalesce(state, '') NOT IN ('refused', 'gone')"
)


class Row(NamedTuple):
    """A file and what came of it."""

    file: str
    state: str
    error: str
    cells: Mapping[str, Cell]


@dataclass
class Counts:
    """Of files: all, those handed in or refused, and those with a result, refused ones among them."""

    total: int = 0
    handed_in: int = 0
    done: int = 0


class Journal:
    """An SQLite file that one run has open at a time; a kill loses what was not yet committed, and nothing else.

    What is lost of results is fetched again; a job that was handed in and not written down has a key of the journal's,
    by which the server knows it.
    """

    def __init__(self, file: Path, model: str, names: Sequence[str]) -> None:
        """For the files and folders named. Raises UserError when `file` is another run's or another program's."""
        self.file = file
        self.counts = Counts()
        self._last_path = b""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, timeout=0, isolation_level=None)
        try:
            self._open(os.fsencode(f"--pipeline {model} {' '.join(names)}").decode("utf-8", "replace"))
        except sqlite3.Error as err:
            self._db.close()
            if "locked" in str(err):
                raise UserError(f"{file}: another run with the same output is under way: wait for it") from err
            raise UserError(
                f"{file}: no journal of `ai102 jobs submit` ({err}): remove it or choose another --out"
            ) from err
        except BaseException:
            self._db.close()
            raise

    def _open(self, work: str) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        version = self._one("PRAGMA user_version")
        if version not in (0, FORMAT) or (version == 0 and self._one("SELECT count(*) FROM sqlite_master")):
            raise UserError(f"{self.file}: no journal of this version: remove it, or choose another --out")
        with self._writing():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")
            first = {"id": secrets.token_hex(16), "work": work, "run": "0"}
            self._db.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", first.items())
            if not self._one("SELECT count(job) FROM files"):
                self._db.execute("UPDATE facts SET value = ? WHERE name = 'work'", [work])
        if (before := self._fact("work")) != work:
            raise UserError(
                f"{self.file}: it is of {before}, which is not finished: go on with that, remove the file, "
                "or choose another --out"
            )
        self._id = self._fact("id")

    def begin(self, entries: Iterable[Entry]) -> None:
        """The files of this run; what earlier ones know of the same files stays, other files are forgotten."""
        run = int(self._fact("run")) + 1
        with self._writing():
            self._db.execute("UPDATE facts SET value = ? WHERE name = 'run'", [str(run)])
            self._db.executemany(_FOUND, ((*entry, run) for entry in entries))
            self._db.execute("DELETE FROM files WHERE run < ?", [run])
        counts = self._db.execute("SELECT count(*), count(coalesce(job, state)), count(state) FROM files").fetchone()
        self.counts = Counts(*counts)

    def key_of(self, entry: Entry) -> str:
        """The idempotency key of a file's job, the same whenever this journal is asked about the same file."""
        words = b"\0".join((self._id.encode(), entry.path, b"%d %d" % (entry.size, entry.mtime_ns)))
        return hashlib.blake2b(words, digest_size=20).hexdigest()

    def unsent(self, limit: int) -> list[bytes]:
        """The next files to hand in, in the order of their paths."""
        rows = self._db.execute(
            "SELECT path FROM files WHERE job IS NULL AND state IS NULL ORDER BY path LIMIT ?", [limit]
        )
        return [path for (path,) in rows]

    def waiting(self, limit: int) -> list[str]:
        """Jobs whose results are not here, in the order of the paths, after those that the last call returned."""
        rows = self._waiting_after(self._last_path, limit) or self._waiting_after(b"", limit)
        self._last_path = rows[-1][0] if rows else b""
        return [job for _, job in rows]

    def _waiting_after(self, path: bytes, limit: int) -> list[tuple[bytes, str]]:
        return self._db.execute(
            "SELECT path, job FROM files WHERE job IS NOT NULL AND state IS NULL AND path > ? ORDER BY path LIMIT ?",
            [path, limit],
        ).fetchall()

    @property
    def is_complete(self) -> bool:
        """Whether every file has a result."""
        return not self._one("SELECT EXISTS (SELECT 1 FROM files WHERE state IS NULL)")

    def handed_in(self, entries: Sequence[Entry], jobs: Sequence[str]) -> None:
        with self._writing():
            self._db.executemany(
                "UPDATE files SET size = ?, mtime_ns = ?, job = ?, tries = tries + 1 WHERE path = ?",
                [(entry.size, entry.mtime_ns, job, entry.path) for entry, job in zip(entries, jobs, strict=True)],
            )
        self.counts.handed_in += len(jobs)

    def refused(self, refused: Sequence[Refused]) -> None:
        rows = [(REFUSED, one.why, one.path) for one in refused]
        with self._writing():
            self._db.executemany("UPDATE files SET state = ?, error = ? WHERE path = ?", rows)
        self.counts.handed_in += len(rows)
        self.counts.done += len(rows)

    def ended(self, results: Sequence[JobResult]) -> None:
        """Write results down. A file whose job is gone is to be handed in again, a few times."""
        done, gone = [], []
        columns: dict[Column, None] = {}
        for result in results:
            if result.state == GONE:
                gone.append((result.id,))
                continue
            columns.update(dict.fromkeys(columns_from_outputs(result.outputs)))
            cells = json.dumps(cells_from_outputs(result.outputs), separators=(",", ":"))
            done.append((result.state, result.error, cells, result.id))
        with self._writing():
            self._db.executemany("INSERT OR IGNORE INTO columns VALUES (?, ?, ?)", columns)
            self._db.executemany("UPDATE files SET state = ?, error = ?, outputs = ? WHERE job = ?", done)
            why = f"the server lost its job {MAX_TRIES} times"
            lost = f"UPDATE files SET state = '{GONE}', error = '{why}' WHERE job = ? AND tries >= {MAX_TRIES}"
            given_up = self._db.executemany(lost, gone).rowcount if gone else 0
            self._db.executemany("UPDATE files SET job = NULL WHERE job = ? AND state IS NULL", gone)
        self.counts.done += len(done) + given_up
        self.counts.handed_in -= len(gone) - given_up

    def columns(self) -> list[Column]:
        """Of all outputs that came, by name; a name is there more than once where answers differed in type."""
        return [Column(*row) for row in self._db.execute("SELECT name, kind, rank FROM columns ORDER BY rowid")]

    def rows(self) -> Iterator[Row]:
        """Every file, in the order of the paths."""
        rows = self._db.execute("SELECT path, state, error, outputs FROM files ORDER BY path")
        for path, state, error, outputs in rows:
            yield Row(path.decode("utf-8", "replace"), state, error, json.loads(outputs) if outputs else {})

    def first_failure(self) -> Row | None:
        """The first file without outputs."""
        row = self._db.execute(
            "SELECT path, state, error FROM files WHERE state <> 'succeeded' ORDER BY path LIMIT 1"
        ).fetchone()
        return Row(row[0].decode("utf-8", "replace"), row[1], row[2], {}) if row else None

    def count_by_state(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT state, count(*) FROM files GROUP BY state ORDER BY count(*) DESC, state"))

    def close(self) -> None:
        self._db.close()

    def remove(self) -> None:
        """Close it and remove its files."""
        self._db.close()
        for name in names_of(self.file):
            name.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _fact(self, name: str) -> str:
        value: str = self._one("SELECT value FROM facts WHERE name = ?", [name])
        return value

    def _one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self._db.execute(statement, values).fetchone()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def file_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.jobs")


def names_of(file: Path) -> list[Path]:
    """The journal and what SQLite keeps beside it."""
    return [file.with_name(file.name + suffix) for suffix in ("-wal", "-shm", "-journal", "")]
