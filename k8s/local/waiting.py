"""Wait for a condition with a deadline, and name a component that ends meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from ai102.errors import UserError

INTERVAL_S = 0.1


def until(holds: Callable[[], bool], what: str, within_s: float, check: Callable[[], None] = lambda: None) -> None:
    """Wait until `holds`; `check` is called before each look and raises when waiting is of no use.

    Raises UserError that says what did not come true.
    """
    ends = time.monotonic() + within_s
    while True:
        check()
        if holds():
            return
        if time.monotonic() > ends:
            raise UserError(f"not within {within_s:g} s: {what}")
        time.sleep(INTERVAL_S)
