"""Where jobs are kept, and what an API needs to take them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ai102.jobs.fetched import Fetched
from ai102.jobs.intake import Intake
from ai102.jobs.job import JobsError
from ai102.jobs.ledger.ledger import KEEP_S, Ledger
from ai102.jobs.ledger.reads import Waiting
from ai102.jobs.queue.dapr import DaprQueue
from ai102.jobs.queue.embedded import EmbeddedQueue
from ai102.jobs.queue.queue import Queue
from ai102.jobs.quota import Bounds, Quota
from ai102.jobs.watch import Watch

COUNT_EVERY_S = 2.0
# This takes longer to count.
UNFETCHED_EVERY_S = 60.0
UNFETCHED_WITHIN_S = 3600.0


@dataclass(frozen=True)
class Options:
    """Where jobs are kept, for how long, and how many."""

    folder: Path  # of the embedded ledger and queue
    ledger_url: str = ""  # of another ledger, postgresql+psycopg://USER@HOST/NAME
    password_file: Path | None = None  # of the user in ledger_url
    sidecar: str = ""  # Dapr's HTTP API, http://HOST:PORT, in place of the embedded queue
    app: str = ""  # HOST:PORT where the sidecar brings jobs to a worker
    fsync: bool = False
    keep_s: float = KEEP_S
    bounds: Bounds = field(default_factory=Bounds)

    def ledger(self) -> Ledger:
        """The folder of an embedded one is made when missing. Raises JobsError."""
        url = self.ledger_url or f"sqlite:///{self._made() / 'ledger.db'}"
        return Ledger(url, fsync=self.fsync, password_file=self.password_file, keep_s=self.keep_s)

    def queue(self) -> Queue:
        """Within an event loop. Raises JobsError."""
        if self.sidecar:
            return DaprQueue(self.sidecar, listen=self.app)
        return EmbeddedQueue(self._made() / "queue.db")

    def quota(self) -> Quota:
        return Quota(self.bounds, None if self.ledger_url else self._made())

    def _made(self) -> Path:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as err:
            raise JobsError(f"{self.folder}: {err.strerror}") from err
        return self.folder


class Counts:
    """What waits, as the ledger last said."""

    def __init__(self) -> None:
        self.last: Waiting | None = None
        self.unfetched = 0  # answers that are removed within UNFETCHED_WITHIN_S and were not fetched


@dataclass(frozen=True)
class Jobs:
    """What an API needs."""

    ledger: Ledger
    intake: Intake
    watch: Watch
    quota: Quota
    waiting: Counts
    fetched: Fetched


@asynccontextmanager
async def taking(options: Options, say: Callable[[str], None]) -> AsyncIterator[Jobs]:
    """Take jobs until the block ends; what was handed in is then written.

    A database that is away makes jobs wait, and nothing else. Raises JobsError when an embedded one cannot be opened.
    """
    ledger = options.ledger()
    queue = options.queue()
    intake, watch, quota = Intake(ledger, queue, say), Watch(ledger), options.quota()
    counts = Counts()
    await _count_once(ledger, quota, counts, say)
    fetched = Fetched(ledger, say)
    tasks = [
        asyncio.create_task(work)
        for work in (_count(ledger, quota, counts, say), _count_unfetched(ledger, counts, say), fetched.run())
    ]
    try:
        yield Jobs(ledger, intake, watch, quota, counts, fetched)
    finally:
        await intake.close()
        await watch.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await fetched.flush()
        await queue.close()
        ledger.close()


async def _count(ledger: Ledger, quota: Quota, counts: Counts, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(COUNT_EVERY_S)
        await _count_once(ledger, quota, counts, say)


async def _count_once(ledger: Ledger, quota: Quota, counts: Counts, say: Callable[[str], None]) -> None:
    try:
        counts.last = await asyncio.to_thread(ledger.waiting)
        quota.begin_count()
        quota.counted(await asyncio.to_thread(ledger.waiting_by_owner))
    except JobsError as err:
        say(str(err))


async def _count_unfetched(ledger: Ledger, counts: Counts, say: Callable[[str], None]) -> None:
    while True:
        try:
            counts.unfetched = await asyncio.to_thread(ledger.unfetched, UNFETCHED_WITHIN_S)
        except JobsError as err:
            say(str(err))
        await asyncio.sleep(UNFETCHED_EVERY_S)
