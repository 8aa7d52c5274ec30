"""Items keep what they were given, alone and in batches."""

import numpy as np
import pytest

from ai102.jobs.item import Form, Item, arrays_from_item, item_of_tensors, items_from_batch, stacked
from tests.jobs.new import digit, text

BATCHES = {
    "numbers": {"scores": np.arange(12, dtype=np.float32).reshape(3, 4)},
    "strings": {"label": np.array([[b"seven"], [b""], [b"\xff\x00"]], dtype=object)},
    "both": {
        "label": np.array([[b"a", b"bc"], [b"", b"d"], [b"e", b"f"]], dtype=object),
        "score": np.array([[0.5], [-1.0], [2.0]], dtype=np.float64),
        "spans": np.arange(12, dtype=np.int32).reshape(3, 2, 2),
    },
    "truth": {"truncated": np.array([[True], [False], [True]])},
    "half": {"vector": np.array([[0.5, 1.5], [2.0, 3.0], [4.0, 65504.0]], dtype=np.float16)},
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_cut_into_items_and_joined_again_is_the_same(name: str) -> None:
    batch = BATCHES[name]
    items = items_from_batch(batch)
    assert len({item.forms for item in items}) == 1
    again = stacked(items[0].forms, [item.data for item in items])
    assert list(again) == list(batch)
    for tensor, array in batch.items():
        assert again[tensor].dtype == array.dtype
        assert again[tensor].tolist() == array.tolist()


def test_items_of_one_kind_have_the_same_forms() -> None:
    assert digit(1).forms == digit(2).forms
    assert text("a").forms == text("a longer text").forms
    assert digit().forms != text("a").forms


def test_an_item_keeps_bfloat16_as_its_bytes() -> None:
    item = item_of_tensors([(Form("x", "BF16", (2,)), b"\x80\x3f\x00\x40")])
    assert arrays_from_item(item)["x"].tolist() == [1.0, 2.0]


def test_an_empty_tensor_has_no_bytes() -> None:
    item = item_of_tensors([(Form("x", "FP32", (0, 4)), b"")])
    assert arrays_from_item(Item(item.forms, b""))["x"].shape == (0, 4)
