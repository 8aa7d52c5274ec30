"""How long steps tell how far they are; drawing it is the command line's business."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

# Called as (done, total), in whatever unit the step counts.
Progress = Callable[[int, int], None]


class Reporter(Protocol):
    """Someone who watches the road being walked."""

    def step(self, title: str) -> AbstractContextManager[Progress]:
        """Work on `title` begins and lasts as long as the block."""

    def say(self, line: str) -> None:
        """One line that stays."""
