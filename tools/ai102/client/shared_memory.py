"""Tensors handed to a server on the same host through shared memory, without a copy on the wire."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from ai102.client.calls import Region
from ai102.client.tensors import Raw

# Below this the copy on the wire costs less than two more look-ups in the server.
WORTH_IT_BYTES = 64 * 1024
SMALLEST = 1 << 20
ALIGNMENT = 64
HERE = ("127.", "localhost:", "[::1]:")


def is_here(address: str) -> bool:
    return address.startswith(HERE)


@dataclass
class Segment:
    """One piece of memory that one request at a time uses."""

    memory: SharedMemory
    name: str
    is_registered: bool = False

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
            at += -(-size // ALIGNMENT) * ALIGNMENT
        return places, at

    def read(self, region: Region, size: int) -> bytes:
        return bytes(self.view[region.offset : region.offset + size])


@dataclass
class Segments:
    """The pieces of one client: lent to requests, taken back, and removed at the end."""

    _free: list[Segment] = field(default_factory=list)
    _all: list[Segment] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # By what was asked: the bytes of each output, once an answer has told them.
    sizes: dict[Any, Mapping[str, int]] = field(default_factory=dict)

    def borrow(self, size: int) -> Segment:
        with self._lock:
            fitting = [segment for segment in self._free if segment.memory.size >= size]
            if fitting:
                segment = min(fitting, key=lambda one: one.memory.size)
                self._free.remove(segment)
                return segment
            made = SharedMemory(create=True, size=max(SMALLEST, 1 << (size - 1).bit_length()))
            segment = Segment(made, f"ai102_{uuid.uuid4().hex}")
            self._all.append(segment)
            return segment

    def give_back(self, segment: Segment) -> None:
        with self._lock:
            self._free.append(segment)

    def forget_registrations(self) -> None:
        """The server was restarted: it knows none of them."""
        with self._lock:
            for segment in self._all:
                segment.is_registered = False

    def registered(self) -> list[Segment]:
        with self._lock:
            return [segment for segment in self._all if segment.is_registered]

    def remove(self) -> None:
        with self._lock:
            for segment in self._all:
                with contextlib.suppress(BufferError):  # a view of it lives on; the memory goes with the process
                    segment.memory.close()
                with contextlib.suppress(FileNotFoundError):
                    segment.memory.unlink()
            self._all.clear()
            self._free.clear()


def aligned(sizes: Iterable[int]) -> int:
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


def size_of(tensors: Sequence[Raw]) -> int:
    return sum(len(raw.data) for raw in tensors)


def key_of(model: str, version: str, outputs: Sequence[str], tensors: Sequence[Raw]) -> Any:
    """What the sizes of the outputs depend on, as far as a caller can tell."""
    return model, version, tuple(outputs), tuple((raw.name, raw.shape) for raw in tensors)
