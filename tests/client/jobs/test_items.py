"""Items as the API takes them, and outputs as arrays."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ai102.client import BadAnswerError, BadRequestError
from ai102.client.jobs.items import arrays_from_outputs, row_from_item
from ai102.client.jobs.messages import MAX_BODY_BYTES, parts_of

ITEMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "bytes": (b"\x00\xff", {"data": "AP8="}),
    "a view of bytes": (memoryview(b"\x00\xff"), {"data": "AP8="}),
    "a text": ("Grüße", {"text": "Grüße"}),
    "whole numbers": (
        {"x": np.array([[1, 2]], ">u2")},
        {"inputs": [{"name": "x", "datatype": "UINT16", "shape": [1, 2], "data": [1, 2]}]},
    ),
    "half floats": (
        {"x": np.array([[0.5]], np.float16)},
        {"inputs": [{"name": "x", "datatype": "FP16", "shape": [1, 1], "data": [0.5]}]},
    ),
    "texts and truth values": (
        {"x": np.array([[b"a", "b"]], object), "y": np.array([True])},
        {
            "inputs": [
                {"name": "x", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]},
                {"name": "y", "datatype": "BOOL", "shape": [1], "data": [True]},
            ]
        },
    ),
    "a list": ({"x": [[1.5]]}, {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [1.5]}]}),
}


@pytest.mark.parametrize(("item", "row"), ITEMS.values(), ids=ITEMS)
def test_an_item_is_a_row_of_the_body(item: Any, row: dict[str, Any]) -> None:
    assert json.loads(row_from_item("m", item, "k")) == {"model": "m", "key": "k", **row}


def test_options_are_there_only_where_they_say_something() -> None:
    until = datetime(2030, 1, 2, tzinfo=UTC)
    row = json.loads(row_from_item("m", "t", "k", "high", until, "https://example.com"))
    assert row == {
        "model": "m", "key": "k", "text": "t", "priority": "high", "not_after": "2030-01-02T00:00:00+00:00",
        "callback": "https://example.com",
    }  # fmt: skip


REFUSED: dict[str, tuple[Any, str]] = {
    "what is not finite": ({"x": np.array([[np.nan]])}, "an input is not finite, which JSON cannot hold"),
    "complex numbers": ({"x": np.array([[1j]])}, "x is an array of complex128, which Triton does not have"),
    "bytes in a tensor": ({"x": np.array([[b"\xff"]], object)}, "x holds bytes that are no UTF-8"),
    "none in a tensor": ({"x": np.array([[None]], object)}, "x holds None"),
    "a number": (7, "an item is bytes, a text or a mapping of arrays by input name, not int"),
    "nothing": (None, "not NoneType"),
}


@pytest.mark.parametrize(("item", "words"), REFUSED.values(), ids=REFUSED)
def test_an_item_that_json_cannot_hold_is_one_line(item: Any, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        row_from_item("m", item, "k")
    assert words in str(caught.value)


def test_outputs_are_arrays_of_their_type() -> None:
    arrays = arrays_from_outputs(
        [
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["é"]},
            {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.5, None]},
            {"name": "wide", "datatype": "INT64", "shape": [], "data": [2**62]},
            {"name": "brain", "datatype": "BF16", "shape": [1], "data": [1.5]},
            {"name": "none", "datatype": "FP64", "shape": [0, 3], "data": []},
        ]
    )
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "label": ("object", (1,)),
        "scores": ("float32", (1, 2)),
        "wide": ("int64", ()),
        "brain": ("float32", (1,)),
        "none": ("float64", (0, 3)),
    }
    assert (arrays["label"].tolist(), arrays["wide"].item()) == (["é".encode()], 2**62)
    assert np.isnan(arrays["scores"][0, 1])


@pytest.mark.parametrize(
    "tensor",
    [
        {"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0]},
        {"name": "x", "datatype": "FP7", "shape": [1], "data": [1.0]},
        {"name": "x", "datatype": "BYTES", "shape": [1], "data": [7]},
        {"name": "x"},
        7,
    ],
    ids=str,
)
def test_outputs_of_another_form_are_one_error(tensor: Any) -> None:
    with pytest.raises(BadAnswerError, match="not as the API writes them"):
        arrays_from_outputs([tensor])


def test_a_row_that_is_larger_than_any_body_goes_alone() -> None:
    rows = [b"a", b"b" * MAX_BODY_BYTES, b"c"]
    assert list(parts_of(rows)) == [[row] for row in rows]
    assert list(parts_of([])) == []
