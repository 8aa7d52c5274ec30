"""How long steps tell how far they are; drawing it is the command line's business."""

from collections.abc import Callable

# Called as (done, total), in whatever unit the step counts.
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """The Progress of a caller who does not look."""
