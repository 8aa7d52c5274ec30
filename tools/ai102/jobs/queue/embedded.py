"""A queue in one SQLite file, for one consuming process; needs no server.

Who publishes may be another process. A notice outlives both; after a power cut the ledger announces its jobs again.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ai102.errors import UserError
from ai102.jobs.job import JobsError, Priority
from ai102.jobs.ledger.ledger import Notice
from ai102.jobs.queue.queue import Take

BUSY_TIMEOUT_S = 10.0
# How long a notice of another process may lie unseen.
POLL_S = 0.01
AGAIN_S = 0.5
_SCHEMA = """
CREATE TABLE IF NOT EXISTS notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL, job TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS notices_by_priority ON notices(priority, number);
"""
_Result = TypeVar("_Result")


class EmbeddedQueue:
    """Belongs to one event loop."""

    def __init__(self, file: Path) -> None:
        """The file is made when missing. Raises JobsError when it cannot be opened."""
        self._file = file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue")
        self._published = asyncio.Event()
        try:
            self._connection = sqlite3.connect(
                file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as err:
            raise self._error(err) from err

    async def publish(self, notices: Sequence[Notice]) -> None:
        rows = [(int(notice.priority), notice.id) for notice in notices]
        await self._run(self._write, "INSERT INTO notices (priority, job) VALUES (?, ?)", rows)
        self._published.set()

    async def consume(self, take: Take, most: int) -> None:
        """Raises UserError when another process consumes from the file."""
        with self._file.with_suffix(".consumer").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                raise UserError(f"{self._file}: another worker takes jobs from it; an embedded queue has one") from err
            while True:
                self._published.clear()
                rows = await self._run(self._read, most)
                if not rows:
                    await self._wait()
                    continue
                try:
                    await take([Notice(job, Priority(priority)) for _, priority, job in rows])
                except JobsError:
                    await asyncio.sleep(AGAIN_S)
                    continue
                numbers = [(number,) for number, _, _ in rows]
                await self._run(self._write, "DELETE FROM notices WHERE number = ?", numbers)

    async def close(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._published.wait()
        except TimeoutError:
            pass

    async def _run(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except sqlite3.OperationalError as err:
            raise self._error(err) from err

    def _read(self, most: int) -> list[tuple[int, int, str]]:
        return self._connection.execute(
            "SELECT number, priority, job FROM notices ORDER BY priority, number LIMIT ?", (most,)
        ).fetchall()

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(statement, rows)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _error(self, err: sqlite3.OperationalError) -> JobsError:
        return JobsError(f"the queue {self._file}: {err}")
