"""A stream of any size in authenticated chunks: what is cut, reordered, doubled, spliced or appended is refused.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce of each chunk is its number, 11 bytes
big-endian, and one byte that is 1 for the last alone. The key must be of this one stream. Every chunk but the last
has `chunk_bytes` of plaintext; each is followed by its tag of 16 bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

TAG_BYTES = 16


class SealingWriter(io.RawIOBase):
    """Encrypts what is written to it into `file`; `finish` writes the last chunk, without which none of it opens."""

    def __init__(self, file: IO[bytes], key: bytes, chunk_bytes: int) -> None:
        self._file, self._cipher, self._chunk_bytes = file, AESGCM(key), chunk_bytes
        self._waiting = bytearray()
        self._number = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        self._waiting += data
        while len(self._waiting) > self._chunk_bytes:  # one chunk is always kept: it may be the last
            self._put(self._waiting[: self._chunk_bytes], is_last=False)
            del self._waiting[: self._chunk_bytes]
        return memoryview(data).nbytes

    def finish(self) -> None:
        self._put(self._waiting, is_last=True)
        self._waiting.clear()

    def _put(self, chunk: bytearray, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, is_last), chunk, None))
        self._number += 1


class OpeningReader(io.RawIOBase):
    """Reads what a SealingWriter wrote, each chunk checked before a byte of it is given out.

    Only when it has been read to its end is it known to be whole. `refuse` makes the exception for an altered one.
    """

    def __init__(self, file: IO[bytes], key: bytes, chunk_bytes: int, refuse: Callable[[], Exception]) -> None:
        """Checks the first chunk already, and with it that the key is right."""
        self._file, self._cipher, self._refuse = file, AESGCM(key), refuse
        self._sealed_bytes = chunk_bytes + TAG_BYTES
        self._number = 0
        self._next = file.read(self._sealed_bytes)
        self._plain = memoryview(b"")
        self._advance()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._plain and self._next:
            self._advance()
        target = memoryview(buffer).cast("B")
        length = min(len(target), len(self._plain))
        target[:length] = self._plain[:length]
        self._plain = self._plain[length:]
        return length

    def _advance(self) -> None:
        sealed, self._next = self._next, self._file.read(self._sealed_bytes)
        try:
            plain = self._cipher.decrypt(_nonce(self._number, is_last=not self._next), sealed, None)
        except InvalidTag:
            raise self._refuse() from None
        self._plain = memoryview(plain)
        self._number += 1


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
