"""One pattern: where something personal may stand in a text, and the check that tells whether it does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from ai102.masking.checks import Check

Span = tuple[int, int]


@dataclass(frozen=True)
class Pattern:
    """A regular expression over a text folded by `folding`, cut so that its left border can be said apart.

    `openings` are the alternatives, each as (first character or class, the rest). The first comes alone because a
    search for a set of first characters is an order faster than one that begins by looking back. `unless_after` are
    expressions of fixed width that must not end where the match begins. The span is that of the last group that took
    part, of all where there is none. Where no trigger is in the text, or the gate finds nothing, there is no match.
    """

    kind: str
    openings: tuple[tuple[str, str], ...]
    unless_after: tuple[str, ...] = ()
    unless_before: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    gate: str = ""
    check: Check | None = None
    check_options: tuple[str, ...] = ()  # more arguments of the check: the networks to spare
    tail: str = ""  # what follows all openings

    @cached_property
    def search(self) -> re.Pattern[str]:
        return re.compile(self.source())

    def source(self) -> str:
        """The whole expression."""
        looks = "".join(f"(?<!{before}.)" for before in self.unless_after)
        whole = "|".join(f"{first}{looks}{rest}" for first, rest in self.openings)
        after = f"(?!{'|'.join(self.unless_before)})" if self.unless_before else ""
        return f"(?:{whole}){self.tail}{after}" if len(self.openings) > 1 else f"{whole}{self.tail}{after}"

    def next_in(self, text: str, position: int) -> Span | None:
        """The first span of this pattern whose match begins at `position` or later."""
        while match := self.search.search(text, position):
            start, end = match.span(match.lastindex or 0)
            if self.check is not None:
                end = self.check(text, start, end, self.check_options)
            if end > start:
                return start, end
            position = match.start() + 1
        return None
