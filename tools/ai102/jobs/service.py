"""Where jobs are kept, and what an API needs to take them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ai102.jobs.intake import Intake
from ai102.jobs.job import JobsError
from ai102.jobs.ledger.ledger import KEEP_S, Ledger
from ai102.jobs.queue.embedded import EmbeddedQueue
from ai102.jobs.queue.queue import Queue
from ai102.jobs.quota import Bounds, Quota
from ai102.jobs.watch import Watch

COUNT_EVERY_S = 2.0


@dataclass(frozen=True)
class Options:
    """Where jobs are kept, for how long, and how many."""

    folder: Path  # of the embedded ledger and queue
    fsync: bool = False
    keep_s: float = KEEP_S
    bounds: Bounds = field(default_factory=Bounds)

    def ledger(self) -> Ledger:
        """Its folder is made when missing. Raises JobsError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as err:
            raise JobsError(f"{self.folder}: {err.strerror}") from err
        return Ledger(f"sqlite:///{self.folder / 'ledger.db'}", fsync=self.fsync, keep_s=self.keep_s)

    def queue(self) -> Queue:
        """Within an event loop. Raises JobsError."""
        return EmbeddedQueue(self.folder / "queue.db")


@dataclass(frozen=True)
class Jobs:
    """What an API needs."""

    ledger: Ledger
    intake: Intake
    watch: Watch
    quota: Quota


@asynccontextmanager
async def taking(options: Options, say: Callable[[str], None]) -> AsyncIterator[Jobs]:
    """Take jobs until the block ends; what was handed in is then written. Raises JobsError."""
    ledger = options.ledger()
    queue = options.queue()
    intake, watch, quota = Intake(ledger, queue, say), Watch(ledger), Quota(options.bounds, options.folder)
    quota.counted(await asyncio.to_thread(ledger.waiting_by_owner))
    counting = asyncio.create_task(_count(ledger, quota, say))
    try:
        yield Jobs(ledger, intake, watch, quota)
    finally:
        await intake.close()
        await watch.close()
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
        await queue.close()
        ledger.close()


async def _count(ledger: Ledger, quota: Quota, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(COUNT_EVERY_S)
        try:
            quota.counted(await asyncio.to_thread(ledger.waiting_by_owner))
        except JobsError as err:
            say(str(err))
