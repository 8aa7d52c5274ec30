"""The masker as a pipe: each line that a program writes is masked and passed on at once, in its order.

- End of input: all of it is passed on, a last line without an end too.
- SIGTERM: what the program had written before is passed on.
- SIGINT: ignored while the input is a pipe. Ctrl-C reaches the program too, whose last lines must not be lost.
"""

from __future__ import annotations

import os
import select
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import BinaryIO

from ai102.masking.masker import Masker
from ai102.masking.stream import masked_line

PIECE_BYTES = 1 << 16
LAST_BYTES = 1 << 20  # the most that a pipe holds unless root allowed it more


def run(masker: Masker, source: int, out: BinaryIO) -> None:
    """Mask what comes through the file descriptor `source`, until its end or SIGTERM; BrokenPipeError passes through.

    Must be called in the main thread, since it handles signals.
    """
    with _termination(source) as terminated:
        for line in _lines(_pieces(source, terminated)):
            out.write(masked_line(masker, line))
            out.flush()


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines with their ends; each piece is looked at once, however long a line is."""
    unfinished = bytearray()
    for piece in pieces:
        begin = len(unfinished)
        unfinished += piece
        end = unfinished.rfind(b"\n", begin) + 1
        if end:
            whole = bytes(unfinished[:end])
            del unfinished[:end]
            yield from (line + b"\n" for line in whole[:-1].split(b"\n"))
    if unfinished:
        yield bytes(unfinished)


def _pieces(source: int, terminated: int) -> Iterator[bytes]:
    while True:
        ready, _, _ = select.select([source, terminated], [], [])
        if terminated in ready:
            break
        if not (piece := os.read(source, PIECE_BYTES)):
            return
        yield piece
    left = LAST_BYTES
    while left > 0 and select.select([source], [], [], 0)[0] and (piece := os.read(source, min(PIECE_BYTES, left))):
        left -= len(piece)
        yield piece


@contextmanager
def _termination(source: int) -> Iterator[int]:
    """A file descriptor that can be read from once SIGTERM was sent."""
    terminated, writer = os.pipe()
    os.set_blocking(writer, False)

    def note(number: int, frame: FrameType | None) -> None:
        os.write(writer, b"\0")

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, note)}
    mode = os.fstat(source).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield terminated
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(terminated)
        os.close(writer)
