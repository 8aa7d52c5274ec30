"""Segments of shared memory on this host: lent to requests, taken back, and removed however the process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import uuid
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

from ai102.client.calls import Infer, Region
from ai102.client.tensors import Raw

# Smaller tensors cost less on the wire than the look-ups in the server: loadtest/client_overhead.py measures it.
WORTH_IT_BYTES = 128 * 1024
SMALLEST = 1 << 20
ALIGNMENT = 64
# The number of kinds of requests whose output sizes are remembered.
MOST_KINDS = 1024


@dataclass(eq=False)
class Segment:
    """A piece of memory that one request at a time uses."""

    memory: SharedMemory
    name: str
    is_registered: bool = False
    is_in_doubt: bool = False  # an earlier try may still be at work in it

    @property
    def view(self) -> memoryview:
        assert self.memory.buf is not None  # until it is closed
        return self.memory.buf

    @property
    def key(self) -> str:
        """The name that the server opens."""
        return "/" + self.memory.name.lstrip("/")

    def write(self, tensors: Iterable[Raw]) -> tuple[dict[str, Region], int]:
        """Copy the tensors in; returns the place of each and the end of the last."""
        places, at = {}, 0
        for raw in tensors:
            size = len(raw.data)
            self.view[at : at + size] = raw.data
            places[raw.name] = Region(self.name, at, size)
            at += aligned([size])
        return places, at

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.view[offset : offset + size])

    def unlink(self) -> None:
        """Remove the name. The server keeps the memory that it has open until it lets go."""
        try:
            self.memory.unlink()
        except FileNotFoundError:  # another program removed it, and unlink stopped before it informed the tracker
            resource_tracker.unregister(self.key, "shared_memory")

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # a view of it exists; the memory ends with the process
            self.memory.close()


class Segments:
    """The segments of one client; threads may share it."""

    def __init__(self) -> None:
        self._free: list[Segment] = []
        self._linked: list[Segment] = []  # those with a name in /dev/shm, free or lent
        self._lock = threading.Lock()
        self._is_retired = False
        # Regions that nobody uses and that the server may still have. A dict keeps their order.
        self._abandoned: dict[str, None] = {}
        self._sizes: dict[Any, Mapping[str, int]] = {}
        # For a client that is never closed. A forked child must not remove the parent's segments.
        weakref.finalize(self, _unlink_all, self._linked, os.getpid())

    @property
    def is_retired(self) -> bool:
        return self._is_retired

    @property
    def in_use(self) -> int:
        """How many segments are lent to requests now."""
        with self._lock:
            return len(self._linked) - len(self._free)

    @property
    def abandoned(self) -> tuple[str, ...]:
        """The regions that nobody uses and that the server may still have, the one not asked about longest first."""
        with self._lock:
            return tuple(self._abandoned)

    @property
    def abandoned_count(self) -> int:
        """len(abandoned) without a copy and without the lock, since every call asks it."""
        return len(self._abandoned)

    def forget(self, name: str) -> None:
        """The server no longer has the region."""
        with self._lock:
            self._abandoned.pop(name, None)

    def defer(self, name: str) -> None:
        """The server may still have the region; the others come first next time."""
        with self._lock:
            if name in self._abandoned:
                del self._abandoned[name]
                self._abandoned[name] = None

    def borrow(self, size: int) -> Segment:
        """Raises OSError when there is no memory left."""
        with self._lock:
            fitting = [segment for segment in self._free if segment.memory.size >= size]
            if fitting:
                segment = min(fitting, key=lambda one: one.memory.size)
                self._free.remove(segment)
                return segment
        segment = Segment(_created(max(SMALLEST, 1 << (size - 1).bit_length())), f"ai102_{uuid.uuid4().hex}")
        with self._lock:
            self._linked.append(segment)
            if not self._is_retired:
                return segment
        self.abandon(segment)
        raise FileNotFoundError(errno.ENOENT, "the client has been closed")

    def give_back(self, segment: Segment) -> None:
        """Nobody uses it any more."""
        with self._lock:
            if not self._is_retired:
                self._free.append(segment)
                return
        self.abandon(segment)

    def abandon(self, segment: Segment) -> None:
        """The server may still read or write there: never lend it again, and hold nothing of it here."""
        with self._lock:
            self._unlink(segment)
            if segment.is_registered:
                self._abandoned.setdefault(segment.name)
        segment.close()

    def retire(self) -> None:
        """Lend none from now on and remove all; a lent segment is closed when it is given back."""
        with self._lock:
            self._is_retired = True
            for segment in tuple(self._linked):
                if segment.is_registered:
                    self._abandoned.setdefault(segment.name)
                self._unlink(segment)
            for segment in self._free:
                segment.close()
            self._free.clear()
            self._sizes.clear()

    def _unlink(self, segment: Segment) -> None:
        if segment in self._linked:
            self._linked.remove(segment)
            segment.unlink()

    def sizes_for(self, call: Infer) -> Mapping[str, int]:
        """The bytes of each output as in earlier answers; 0 for strings, which differ every time."""
        return self._sizes.get(_kind_of(call), {})

    def learn(self, call: Infer, sizes: Mapping[str, int]) -> None:
        if len(self._sizes) >= MOST_KINDS:
            self._sizes.clear()
        known = self.sizes_for(call)
        self._sizes[_kind_of(call)] = {name: max(size, known.get(name, 0)) for name, size in sizes.items()}


def aligned(sizes: Iterable[int]) -> int:
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


def _created(size: int) -> SharedMemory:
    # Whoever looks into /dev/shm sees whose it is.
    memory = SharedMemory(f"ai102_client_{os.getpid()}_{uuid.uuid4().hex}", create=True, size=size)
    try:
        # Without this, a write beyond the free space of /dev/shm kills the process; containers have 64 MB of it.
        with Path("/dev/shm", memory.name.lstrip("/")).open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except BaseException:
        memory.close()
        memory.unlink()
        raise
    return memory


def _kind_of(call: Infer) -> Any:
    """What the sizes of the outputs depend on, as far as a caller knows."""
    inputs = tuple((raw.name, raw.shape) for raw in call.tensors)
    return call.model, call.version, tuple(call.outputs), call.class_count, inputs


def _unlink_all(segments: list[Segment], owner: int) -> None:
    if os.getpid() == owner:
        for segment in segments:
            segment.unlink()
