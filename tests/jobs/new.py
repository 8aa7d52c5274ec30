"""New jobs for tests."""

import numpy as np

from ai102.jobs.item import Form, Item, item_of_tensors
from ai102.jobs.job import NewJob, Priority, new_id


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def digit(value: int = 0) -> Item:
    """Sixty-four pixels, as digits_int8 takes them."""
    return item_of_tensors([(Form("pixels", "UINT8", (1, 8, 8)), np.full(64, value, np.uint8).tobytes())])


def text(words: str) -> Item:
    data = words.encode()
    return item_of_tensors([(Form("text", "BYTES", (1,)), len(data).to_bytes(4, "little") + data)])


def job(owner: str = "ann", key: str = "", value: int = 0, **more: object) -> NewJob:
    fields = {"priority": Priority.NORMAL, **more}
    return NewJob(new_id(), owner, "digits_int8", digit(value), key, bytes([value]), **fields)  # type: ignore[arg-type]
