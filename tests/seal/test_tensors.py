"""What stands in an answer, and what is no answer."""

import random
import struct

import numpy as np
import pytest

from ai102_runtime.seal.envelope import SealError
from ai102_runtime.seal.tensors import (
    Tensor,
    bytes_from_elements,
    bytes_from_tensors,
    elements_from_bytes,
    tensors_from_bytes,
)

SCORES = np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5)
LABELS = [b"seven", "数".encode(), b""]
TENSORS = [
    Tensor("scores", "FP32", (2, 5), SCORES.tobytes()),
    Tensor("label", "BYTES", (3, 1), bytes_from_elements(LABELS)),
    Tensor("truncated", "BOOL", (), b"\1"),
    Tensor("none", "INT64", (0, 4), b""),
]


def test_tensors_come_through_whole() -> None:
    got = tensors_from_bytes(bytes_from_tensors(TENSORS))
    assert got == TENSORS
    assert np.array_equal(np.frombuffer(got[0].data, np.float32).reshape(got[0].shape), SCORES)
    assert elements_from_bytes(got[1].data) == LABELS
    assert tensors_from_bytes(bytes_from_tensors([])) == []


def one(name: str = "a", datatype: str = "INT8", shape: tuple[int, ...] = (1,), data: bytes = b"\0") -> list[Tensor]:
    return [Tensor(name, datatype, shape, data)]


@pytest.mark.parametrize(
    "tensors",
    [
        one(name=""),
        one(name="é"),
        one(name="a" * 256),
        one(datatype="OBJECT"),
        one(shape=(2,)),
        one(shape=(-1,)),
        one(shape=(1 << 32,)),
        one(shape=(1,) * 17),
        one(datatype="FP32"),
        one(datatype="BYTES", data=struct.pack("<I", 2) + b"a"),
        one(datatype="BYTES", data=b"", shape=(1,)),
        one() * 2,
        [Tensor(str(n), "INT8", (1,), b"\0") for n in range(65)],
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_packed(tensors: list[Tensor]) -> None:
    with pytest.raises(SealError):
        bytes_from_tensors(tensors)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"AIT1",
        b"AIT2\0",
        b"AIT1\0\0",
        b"AIT1\x01\x01a\x04INT8\x01\0\0\0\x02\0\0\0\0\0\0\0\x01\0",
        b"AIT1\x01\x01a\x04INT8\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\0",
        b"AIT1\x01\x01a\x04INT8\xff",
        b"AIT1\xff" + b"\x01a\x04INT8\0\0\0\0\0\0\0\0\x01\0" * 255,
        b"\x80\x04\x95",  # a pickle
    ],
    ids=repr,
)
def test_what_is_no_answer_is_refused(packed: bytes) -> None:
    with pytest.raises(SealError):
        tensors_from_bytes(packed)


def test_random_bytes_give_tensors_or_a_seal_error() -> None:
    chance, packed = random.Random(6), bytes_from_tensors(TENSORS)
    for _ in range(3000):
        changed = bytearray(packed)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            tensors = tensors_from_bytes(bytes(changed[: chance.randrange(len(changed) + 1)]))
        except SealError:
            continue
        assert tensors_from_bytes(bytes_from_tensors(tensors)) == tensors
