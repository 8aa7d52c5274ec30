"""New jobs of many calls, written in one transaction at a time and then announced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ai102.jobs.job import JobsError, NewJob
from ai102.jobs.ledger.ledger import Accepted, Ledger, Notice
from ai102.jobs.queue.queue import Queue

# Of one transaction.
MOST = 4000


class Intake:
    """Belongs to one event loop. While one transaction is written, the jobs of other calls gather for the next."""

    def __init__(self, ledger: Ledger, queue: Queue, say: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._queue = queue
        self._say = say
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._waiting: list[tuple[Sequence[NewJob], asyncio.Future[list[Accepted]]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._unannounced: list[Notice] = []
        self._announcer: asyncio.Task[None] | None = None

    async def accept(self, jobs: Sequence[NewJob]) -> list[Accepted]:
        """What the ledger made of each job. Raises JobsError; then none of them is accepted."""
        answer: asyncio.Future[list[Accepted]] = asyncio.get_running_loop().create_future()
        self._waiting.append((jobs, answer))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """Finish what was handed in."""
        for task in (self._writer, self._announcer):
            if task:
                await task
        self._thread.shutdown()

    async def _write(self) -> None:
        while self._waiting:
            taken, count = [], 0
            while self._waiting and count < MOST:
                taken.append(self._waiting.pop(0))
                count += len(taken[-1][0])
            jobs = [job for call, _ in taken for job in call]
            try:
                accepted = await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.accept, jobs)
            except Exception as err:  # noqa: BLE001 - raised by those who wait
                for _, answer in taken:
                    if not answer.done():
                        answer.set_exception(err)
                continue
            at = 0
            for call, answer in taken:
                if not answer.done():
                    answer.set_result(accepted[at : at + len(call)])
                at += len(call)
            self._announce(jobs, accepted)
        self._writer = None

    def _announce(self, jobs: Sequence[NewJob], accepted: Sequence[Accepted]) -> None:
        self._unannounced += [
            Notice(job.id, job.priority) for job, one in zip(jobs, accepted, strict=True) if not one.is_repeated
        ]
        if self._announcer is None:
            self._announcer = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        while self._unannounced:
            notices, self._unannounced = self._unannounced, []
            try:
                await self._queue.publish(notices)
            except JobsError as err:
                # They are accepted: a worker takes them from the ledger.
                self._say(f"{err}: {len(notices)} jobs are begun later")
        self._announcer = None
