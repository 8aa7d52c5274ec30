"""Ports for the servers of tests that no other program of this machine takes between the choice and the start.

Linux gives outgoing connections, and whoever binds port 0, ports from 32768 on. Tests take theirs below
that. Each process of tests has a slice of its own, which a lock keeps until the process ends.
"""

import fcntl
import os
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import TextIO

FIRST, LAST, SLICE = 20000, 32000, 500


class _Slice:
    """So many ports of one process, given in turns."""

    def __init__(self, first: int, lock: TextIO) -> None:
        self._first = self._next = first
        self._lock = lock  # held until the process ends

    def take(self) -> int:
        """The next port that nothing listens on."""
        for _ in range(SLICE):
            port, self._next = self._next, self._next + 1
            if self._next == self._first + SLICE:
                self._next = self._first
            if _is_free(port):
                return port
        raise RuntimeError(f"something listens on all ports from {self._first} to {self._first + SLICE - 1}")


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback that nothing listens on."""
    return [_mine(os.getpid()).take() for _ in range(count)]


def free_port() -> int:
    return free_ports(1)[0]


def free_addresses(count: int) -> list[str]:
    """So many addresses on the loopback that nothing listens on."""
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


@cache
def _mine(pid: int) -> _Slice:
    folder = Path(tempfile.gettempdir()) / f"ai102-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(FIRST, LAST, SLICE):
        lock = (folder / str(first)).open("w", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return _Slice(first, lock)
    raise RuntimeError(f"other tests hold every slice of ports ({folder})")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections merely wait to be forgotten is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
