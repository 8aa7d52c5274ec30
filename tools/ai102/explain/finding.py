"""What a rule says of a model."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """What was seen, the numbers that show it, and what to do about it; nothing to do where all is well."""

    what: str
    evidence: str
    do: str = ""


def ms(milliseconds: float) -> str:
    """Three digits that count, and the unit."""
    return f"{milliseconds * 1000:.3g} us" if milliseconds < 1 else f"{milliseconds:.3g} ms"
