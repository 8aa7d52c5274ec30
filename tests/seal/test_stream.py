"""Chunks in their order, all of them, and nothing else."""

import io
import random
from collections.abc import Callable

import pytest

from ai102.seal.stream import OpeningReader, SealingWriter

KEY, CHUNK = bytes(range(32)), 64
SEALED = CHUNK + 16


class RefusedError(Exception):
    """What the reader raises for an altered stream."""


def sealed(data: bytes, key: bytes = KEY) -> bytes:
    file = io.BytesIO()
    writer, chance = SealingWriter(file, key, CHUNK), random.Random(len(data))
    rest = memoryview(data)
    while rest:
        length = chance.randrange(1, 200)
        writer.write(rest[:length])
        rest = rest[length:]
    writer.finish()
    return file.getvalue()


def opened(whole: bytes, key: bytes = KEY) -> bytes:
    return io.BufferedReader(OpeningReader(io.BytesIO(whole), key, CHUNK, RefusedError), 100).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 5 * CHUNK + 7])
def test_a_stream_of_any_size_comes_through(size: int) -> None:
    data = random.Random(size).randbytes(size)
    whole = sealed(data)
    assert opened(whole) == data
    assert len(whole) == size + 16 * max(1, -(-size // CHUNK))


DATA = random.Random(6).randbytes(5 * CHUNK + 7)
WHOLE = sealed(DATA)
CHUNKS = [WHOLE[at : at + SEALED] for at in range(0, len(WHOLE), SEALED)]
ELSE = sealed(bytes(reversed(DATA)), key=bytes(32))
SAME_KEY = sealed(DATA[:CHUNK] + DATA[:-CHUNK])
CHANGED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "last chunk gone": lambda: b"".join(CHUNKS[:-1]),
    "first chunk gone": lambda: b"".join(CHUNKS[1:]),
    "middle chunk gone": lambda: b"".join(CHUNKS[:2] + CHUNKS[3:]),
    "cut within the last": lambda: WHOLE[:-1],
    "cut within a chunk": lambda: WHOLE[: 2 * SEALED + 5],
    "two swapped": lambda: b"".join([*CHUNKS[:1], CHUNKS[2], CHUNKS[1], *CHUNKS[3:]]),
    "one doubled": lambda: b"".join([*CHUNKS[:2], *CHUNKS[1:]]),
    "last doubled": lambda: WHOLE + CHUNKS[-1],
    "last moved forward": lambda: b"".join([CHUNKS[-1], *CHUNKS[1:]]),
    "a byte appended": lambda: WHOLE + b"\0",
    "a stream appended": lambda: WHOLE + WHOLE,
    "spliced with another stream": lambda: WHOLE[: 2 * SEALED] + ELSE[2 * SEALED :],
    "spliced with another end": lambda: b"".join([*CHUNKS[:-1], SAME_KEY[-SEALED:]]),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_stream_that_was_changed_is_refused(name: str) -> None:
    with pytest.raises(RefusedError):
        opened(CHANGED[name]())


def test_no_byte_of_an_altered_chunk_is_given_out() -> None:
    whole = bytearray(WHOLE)
    whole[2 * SEALED + 3] ^= 1
    reader, got = OpeningReader(io.BytesIO(whole), KEY, CHUNK, RefusedError), list[bytes]()
    with pytest.raises(RefusedError):
        got.extend(iter(lambda: reader.read(7), b""))
    assert b"".join(got) == DATA[: 2 * CHUNK]


def test_every_byte_counts_and_so_does_every_length() -> None:
    chance = random.Random(6)
    for place in range(len(WHOLE)):
        changed = bytearray(WHOLE)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(RefusedError):
            opened(bytes(changed))
        with pytest.raises(RefusedError):
            opened(WHOLE[:place])


def test_random_orders_of_chunks_are_refused() -> None:
    chance = random.Random(6)
    for _ in range(500):
        order = chance.choices(CHUNKS, k=chance.randrange(1, 9))
        if order != CHUNKS:
            with pytest.raises(RefusedError):
                opened(b"".join(order))
