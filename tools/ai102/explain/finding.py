"""The result of a rule for a model."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """What a rule saw, the numbers that show it, and what to do; nothing to do where all is well."""

    what: str
    evidence: str
    do: str = ""


def ms(milliseconds: float) -> str:
    """Three significant digits and the unit."""
    return f"{milliseconds * 1000:.3g} us" if milliseconds < 1 else f"{milliseconds:.3g} ms"
