"""What a queue is to those who announce jobs and to the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ai102.jobs.ledger.ledger import Notice

# Takes jobs over. The queue forgets them when it returns, and brings them again when it raises.
Take = Callable[[Sequence[Notice]], Awaitable[None]]


class Queue(Protocol):
    """Brings what is published to one of those who consume, the higher priority first and in about its order."""

    async def publish(self, notices: Sequence[Notice]) -> None:
        """Raises JobsError when the queue does not take them."""

    async def consume(self, take: Take, most: int) -> None:
        """Call `take` with up to `most` notices at a time, again when it has returned, until cancelled."""

    async def close(self) -> None: ...
