"""A text as the patterns see it: small letters, ASCII digits and signs, no invisible characters; and the way back."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

# The zero of every set of decimal digits that input methods and copied text bring along.
ZEROS = (0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0E50, *range(0x1D7CE, 0x1D7FF, 10))
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63"
SPACES = "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff"
PLAIN = {
    **{chr(0xFF01 + offset): chr(0x21 + offset) for offset in range(94)},
    **{chr(zero + digit): str(digit) for zero in ZEROS for digit in range(10)},
    **dict.fromkeys(DASHES, "-"),
    **dict.fromkeys(SPACES, " "),
    "\ud800": "?",  # patterns.STRUCK
    "\u2169": "x",  # the Roman numeral that stands for the X of an identity number
    "\u2179": "x",
}
FOREIGN = re.compile("[" + "".join(PLAIN) + "]")
HIDDEN = re.compile(f"[{INVISIBLE}]+")
LOWER_ASCII = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class Folded:
    """`text` is what the patterns see. `original(start, end)` gives the slice of the source that a span came from."""

    def __init__(self, source: str) -> None:
        self.text, self._places = _lower(source), None
        if source.isascii():
            return
        self.text = _lower(FOREIGN.sub(lambda match: PLAIN[match[0]], source))
        if HIDDEN.search(self.text):
            self.text, self._places = _without_hidden(self.text)

    _places: Sequence[int] | None

    def original(self, start: int, end: int) -> tuple[int, int]:
        if self._places is None:
            return start, end
        return self._places[start], self._places[end - 1] + 1


def _lower(text: str) -> str:
    lower = text.lower()
    return lower if len(lower) == len(text) else text.translate(LOWER_ASCII)  # a Turkish dotted I becomes two


def _without_hidden(text: str) -> tuple[str, Sequence[int]]:
    """Without the invisible, except between a letter and a digit, where it parts words; and each one's old place."""
    kept, places, begin = list[str](), array("q"), 0
    for match in HIDDEN.finditer(text):
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        is_border = (_is_letter(before) and _is_digit(after)) or (_is_digit(before) and _is_letter(after))
        end = match.end() if is_border and "x" not in (before, after) else match.start()
        kept.append(text[begin:end])
        places.extend(range(begin, end))
        begin = match.end()
    kept.append(text[begin:])
    places.extend(range(begin, len(text)))
    return "".join(kept), places


def _is_letter(character: str) -> bool:
    return "a" <= character <= "z"


def _is_digit(character: str) -> bool:
    return "0" <= character <= "9"
