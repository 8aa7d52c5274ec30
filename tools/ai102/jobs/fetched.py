"""Which results were fetched: noted once a second, for all calls together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ai102.jobs.job import JobsError
from ai102.jobs.ledger.ledger import Ledger

EVERY_S = 1.0


class Fetched:
    """Belongs to one event loop. What is lost with the process counts as not fetched: an alert may come needlessly."""

    def __init__(self, ledger: Ledger, say: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._say = say
        self._ids: set[str] = set()

    def add(self, ids: Iterable[str]) -> None:
        self._ids.update(ids)

    async def run(self) -> None:
        """Note them until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        ids, self._ids = self._ids, set()
        try:
            if ids:
                await asyncio.to_thread(self._ledger.fetched, ids)
        except JobsError as err:
            self._say(str(err))
