"""Arrays on the wire and back, whatever their type and layout."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ai102.client import tensors
from ai102.client.errors import BadAnswerError, BadRequestError
from ai102.client.tensors import NUMPY_TYPES, Raw, array_from_raw, bytes_array, raw_from_array, size_of_raw

BASE = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("datatype", NUMPY_TYPES)
def test_every_type_comes_back_as_it_went(datatype: str) -> None:
    array = (BASE % 2 if datatype == "BOOL" else BASE).astype(NUMPY_TYPES[datatype])
    raw = raw_from_array("x", array)
    back = array_from_raw(raw)
    assert (raw.datatype, back.dtype, back.shape) == (datatype, array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()
    assert size_of_raw(raw) == len(raw.data)


@pytest.mark.parametrize(
    "array",
    [
        BASE.astype(np.int32).T,
        BASE.astype(np.float32)[:, ::2],
        BASE.astype(np.int64)[::-1],
        BASE.astype(">i4"),
        BASE.astype(">f8").T,
        np.broadcast_to(np.float32(3), (2, 2)),
        np.float32(7).reshape(()),
        np.frombuffer(bytes(range(17)), np.float64, offset=1),
        np.zeros((0, 5), np.float32),
        np.zeros((3, 0), np.int64),
    ],
    ids=[
        "transposed",
        "strided",
        "reversed",
        "big endian",
        "big endian transposed",
        "broadcast",
        "scalar",
        "unaligned",
        "no rows",
        "no columns",
    ],
)
def test_layout_and_byte_order_do_not_matter(array: NDArray[Any]) -> None:
    back = array_from_raw(raw_from_array("x", array))
    assert back.shape == array.shape
    assert np.array_equal(back, array)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (bytes_array([b"a\x00", b"", b"\xff" * 300]), [b"a\x00", b"", b"\xff" * 300]),
        (np.array(["für", "東京"]), ["für".encode(), "東京".encode()]),
        (np.array([b"ab", b"c"]), [b"ab", b"c"]),
        (np.array(["mixed", b"bytes"], dtype=object), [b"mixed", b"bytes"]),
        (np.empty((0, 1), dtype=object), []),
    ],
)
def test_texts_and_bytes_come_back_as_bytes(array: NDArray[Any], wanted: list[bytes]) -> None:
    back = array_from_raw(raw_from_array("x", array))
    assert back.shape == array.shape
    assert back.reshape(-1).tolist() == wanted


def test_bf16_comes_as_float32() -> None:
    values = np.array([[1.5, -2.0, 0.0]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    raw = Raw("x", "BF16", (1, 3), halves)
    assert array_from_raw(raw).tolist() == values.tolist()
    assert size_of_raw(raw) == 6


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(2, np.complex64), "complex64, which Triton does not have"),
        (np.array(["2026-11-24"], "datetime64[D]"), "convert it"),
        (np.array([b"a", None], dtype=object), "x holds None"),
    ],
)
def test_what_triton_has_no_type_for_is_refused(array: NDArray[Any], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        raw_from_array("x", array)


@pytest.mark.parametrize(
    "raw",
    [
        Raw("y", "FP32", (1, 3), b"\x00" * 8),
        Raw("y", "FP32", (1, 2), b"\x00" * 7),
        Raw("y", "BF16", (2,), b"\x00" * 3),
        Raw("y", "FP8", (1,), b"\x00"),
        Raw("y", "BYTES", (1,), b"\x05\x00\x00\x00abc"),
        Raw("y", "BYTES", (2,), b"\x01\x00\x00\x00a"),
        Raw("y", "BYTES", (1,), b"\x01\x00"),
    ],
)
def test_bytes_that_do_not_make_the_shape_are_a_bad_answer(raw: Raw) -> None:
    with pytest.raises(BadAnswerError, match=r"y: \d+ bytes are no"):
        array_from_raw(raw)


def test_rows_are_split_and_joined_in_order() -> None:
    inputs = {"a": np.arange(7), "b": np.arange(14).reshape(7, 2)}
    parts = tensors.split(inputs, 3)
    assert [len(part["a"]) for part in parts] == [3, 3, 1]
    assert {name: array.tolist() for name, array in tensors.joined(parts).items()} == {
        name: array.tolist() for name, array in inputs.items()
    }


@pytest.mark.parametrize(
    ("shapes", "wanted"), [([(3, 2), (3,)], 3), ([(3, 2), (4,)], None), ([(3,), ()], None), ([], None)]
)
def test_rows_are_those_all_inputs_have(shapes: list[tuple[int, ...]], wanted: int | None) -> None:
    assert tensors.rows_of({str(at): np.zeros(shape) for at, shape in enumerate(shapes)}) == wanted
