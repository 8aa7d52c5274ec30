"""How many requests are taken on, how many are asked of Triton at once, and how much of their bodies is held."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ai102.api.limits import Limits
from ai102.api.problems import Problem


class Held:
    """The bytes that one request holds."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.size = 0

    def add(self, size: int) -> None:
        """Raises Problem when all requests together would hold too much."""
        if self._gate.held_bytes + size > self._gate.limits.max_held_bytes:
            raise Problem("busy", "Too many uploads are under way: try again in a moment.")
        self._gate.held_bytes += size
        self.size += size


class Gate:
    """Belongs to one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside = 0
        self.held_bytes = 0
        self.turn = asyncio.Semaphore(limits.max_calls)  # held while Triton is asked

    @contextmanager
    def admitted(self) -> Iterator[Held]:
        """One request, from its first byte to its answer. Raises Problem when there are too many."""
        if self.inside >= self.limits.max_calls + self.limits.max_waiting:
            raise Problem("busy", "Too many requests are waiting: try again in a moment.")
        self.inside += 1
        held = Held(self)
        try:
            yield held
        finally:
            self.inside -= 1
            self.held_bytes -= held.size
