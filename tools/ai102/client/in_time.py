"""A time limit for blocking calls that have none of their own, such as the system's name resolution."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(timeout_s: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises. Raises TimeoutError after `timeout_s`; the call then ends in its own thread."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as err:  # noqa: BLE001 - raised again by result()
            outcome.set_exception(err)

    threading.Thread(target=run, name="ai102 blocking call", daemon=True).start()
    return outcome.result(max(0.0, timeout_s))
