"""The masker as a pipe: lines of bytes in, masked lines out, each written at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ai102.masking.logs import failure
from ai102.masking.masker import Masker


def apply(masker: Masker, lines: Iterable[bytes], out: BinaryIO) -> None:
    """Every line masked, flushed at its end; bytes that are not UTF-8 pass as they are.

    A line the masker fails on is replaced by a mark.
    """
    for line in lines:
        out.write(masked_line(masker, line))
        out.flush()


def masked_line(masker: Masker, line: bytes) -> bytes:
    try:
        return masker.mask(_text(line)).encode("utf-8", "surrogateescape")
    except Exception as err:  # noqa: BLE001  whatever the defect, the line must not be lost and must not leak
        return f"{failure(err)}\n".encode()


def check(masker: Masker, lines: Iterable[bytes], counts: Counter[str]) -> Iterator[str]:
    """One line for everything that would be masked: place, kind, what is there, its mark. Counts by kind."""
    for number, line in enumerate(lines, 1):
        text = _text(line)
        for found in masker.find(text):
            counts[found.kind] += 1
            yield f"{number}:{found.start + 1} {found.kind} {text[found.start : found.end]!r} -> {found.mark}"


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
