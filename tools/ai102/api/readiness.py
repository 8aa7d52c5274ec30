"""Whether each model answers: a small inference, because Triton calls a model ready whose process is dead."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Iterator

from ai102.client import AsyncClient, InferenceError, bytes_array
from ai102.contract.answers import Asked

FRESH_S = 1.0  # asked no more often than that, however many ask us
TIMEOUT_S = 2.0
TEXT = b"ready?"


class Readiness:
    """Belongs to one event loop."""

    def __init__(self, client: AsyncClient, asked: Asked) -> None:
        self._client = client
        self._probes = tuple(_probes(asked))
        self._lock = asyncio.Lock()
        self._known: dict[str, bool] = {}
        self._known_until = 0.0

    async def models(self) -> dict[str, bool]:
        """Each model and whether it answered, at most `FRESH_S` ago."""
        clock = asyncio.get_running_loop().time
        async with self._lock:
            if clock() >= self._known_until:
                answered = await asyncio.gather(*(self._answers(*probe) for probe in self._probes))
                self._known = {probe[0]: is_ready for probe, is_ready in zip(self._probes, answered, strict=True)}
                self._known_until = clock() + FRESH_S
            return self._known

    async def _answers(self, model: str, name: str, item: bytes) -> bool:
        try:
            await self._client.infer(model, {name: bytes_array([item])}, timeout_s=TIMEOUT_S)
        except InferenceError:
            return False
        return True


def _probes(asked: Asked) -> Iterator[tuple[str, str, bytes]]:
    if asked.classifier:
        yield asked.classifier.model, asked.classifier.input, _grey_png(8)
    if asked.embedder:
        yield asked.embedder.model, asked.embedder.input, TEXT


def _grey_png(edge: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * edge) * edge)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
