"""Waiting for jobs to end: one question to the ledger for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor

from ai102.jobs.ledger.ledger import Ledger

POLL_S = 0.005
# With many to ask about, the question takes a while itself.
POLL_S_PER_JOB = 0.00005


class Watch:
    """Belongs to one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watch")
        self._waiting: dict[str, set[asyncio.Future[Set[str]]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def ended(self, ids: Set[str], timeout_s: float) -> Set[str]:
        """Those of the jobs that have ended, or are gone, as soon as there is one; none after `timeout_s`.

        Raises JobsError.
        """
        future: asyncio.Future[Set[str]] = asyncio.get_running_loop().create_future()
        for id in ids:
            self._waiting.setdefault(id, set()).add(future)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return set()
        finally:
            for id in ids & self._waiting.keys():
                self._waiting[id].discard(future)
                if not self._waiting[id]:
                    del self._waiting[id]
        return future.result()

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._thread.shutdown()

    async def _ask(self) -> None:
        try:
            while self._waiting:
                ids = list(self._waiting)
                ended = await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.ended_of, ids)
                for id in ended:
                    for future in self._waiting.pop(id, set()):
                        if not future.done():
                            future.set_result({id})
                await asyncio.sleep(POLL_S + POLL_S_PER_JOB * len(self._waiting))
        except Exception as err:  # noqa: BLE001 - raised by those who wait
            for future in {future for futures in self._waiting.values() for future in futures}:
                if not future.done():
                    future.set_exception(err)
            self._waiting.clear()
        finally:
            self._asking = None
