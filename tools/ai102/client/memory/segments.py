"""Pieces of shared memory on this host: lent to requests, taken back, and removed whatever happens."""

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

# Below this the copy on the wire costs less than the look-ups in the server: loadtest/client_overhead.py measures it.
WORTH_IT_BYTES = 128 * 1024
SMALLEST = 1 << 20
ALIGNMENT = 64
# Of so many kinds of requests the sizes of the outputs are remembered.
MOST_KINDS = 1024


@dataclass(eq=False)
class Segment:
    """One piece of memory that one request at a time uses."""

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
        """The name the server opens it by."""
        return "/" + self.memory.name.lstrip("/")

    def write(self, tensors: Iterable[Raw]) -> tuple[dict[str, Region], int]:
        """Copy the tensors in; returns the place of each and where the next would begin."""
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
        """Take the name away. Who has it open, the server above all, keeps the memory until it lets go."""
        try:
            self.memory.unlink()
        except FileNotFoundError:  # someone tidied up; unlink stopped before it told the tracker
            resource_tracker.unregister(self.key, "shared_memory")

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # a view of it lives on; the memory goes with the process
            self.memory.close()


class Segments:
    """The pieces of one client; threads may share it."""

    def __init__(self) -> None:
        self._free: list[Segment] = []
        self._linked: list[Segment] = []  # those with a name in /dev/shm, free or lent
        self._lock = threading.Lock()
        self._is_retired = False
        # Regions that the server still has and nobody uses: it lets go of one when its request has ended.
        self.abandoned: list[str] = []
        self._sizes: dict[Any, Mapping[str, int]] = {}
        # For a client that is never closed. A child by fork must leave the parent's alone.
        weakref.finalize(self, _unlink_all, self._linked, os.getpid())

    @property
    def is_retired(self) -> bool:
        return self._is_retired

    def borrow(self, size: int) -> Segment:
        """Raises OSError when there is no memory left."""
        with self._lock:
            fitting = [segment for segment in self._free if segment.memory.size >= size]
            if fitting:
                segment = min(fitting, key=lambda one: one.memory.size)
                self._free.remove(segment)
                return segment
        segment = Segment(_made(max(SMALLEST, 1 << (size - 1).bit_length())), f"ai102_{uuid.uuid4().hex}")
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
            if segment.is_registered and segment.name not in self.abandoned:
                self.abandoned.append(segment.name)
        segment.close()

    def retire(self) -> None:
        """Lend none from now on and remove all; what is lent is closed when given back."""
        with self._lock:
            self._is_retired = True
            self.abandoned += [segment.name for segment in self._linked if segment.is_registered]
            for segment in tuple(self._linked):
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
        """The bytes of each output, where an earlier answer has told; 0 for strings, which differ every time."""
        return self._sizes.get(_kind_of(call), {})

    def learn(self, call: Infer, sizes: Mapping[str, int]) -> None:
        if len(self._sizes) >= MOST_KINDS:
            self._sizes.clear()
        known = self.sizes_for(call)
        self._sizes[_kind_of(call)] = {name: max(size, known.get(name, 0)) for name, size in sizes.items()}


def aligned(sizes: Iterable[int]) -> int:
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


def _made(size: int) -> SharedMemory:
    memory = SharedMemory(create=True, size=size)
    try:
        # Without this, a write beyond what /dev/shm has left kills the process; containers have 64 MB of it.
        with Path("/dev/shm", memory.name.lstrip("/")).open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except BaseException:
        memory.close()
        memory.unlink()
        raise
    return memory


def _kind_of(call: Infer) -> Any:
    """What the sizes of the outputs depend on, as far as a caller can tell."""
    inputs = tuple((raw.name, raw.shape) for raw in call.tensors)
    return call.model, call.version, tuple(call.outputs), call.class_count, inputs


def _unlink_all(segments: list[Segment], owner: int) -> None:
    if os.getpid() == owner:
        for segment in segments:
            segment.unlink()
