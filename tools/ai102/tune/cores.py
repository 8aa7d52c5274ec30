"""Assigns client and server to different cores, so that neither slows the other."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """The cores of server and client; the same ones on a machine with one core."""

    server: tuple[int, ...]
    client: tuple[int, ...]

    @property
    def are_apart(self) -> bool:
        return not set(self.server) & set(self.client)

    @property
    def words(self) -> str:
        if not self.are_apart:
            return "server and client share one core, so each slows the other"
        return f"server on {_cores(self.server)}, client on {_cores(self.client)}"


def shared_out(cores: Collection[int]) -> Cores:
    """One core for the client, two where there are more than four; the rest for the server."""
    ordered = tuple(sorted(cores))
    if len(ordered) == 1:
        return Cores(ordered, ordered)
    clients = 1 if len(ordered) <= 4 else 2
    return Cores(ordered[:-clients], ordered[-clients:])


def usable() -> set[int]:
    """The cores that this process may run on."""
    return os.sched_getaffinity(0)


@contextmanager
def on(cores: Collection[int]) -> Iterator[None]:
    """Pin this thread to those cores, with every thread and process that it starts in the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cores(numbers: tuple[int, ...]) -> str:
    return f"core{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
