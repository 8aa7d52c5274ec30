"""Names from the configuration as two patterns: one tree of characters each, so that a thousand cost as one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ai102.masking.folding import Folded
from ai102.masking.pattern import Pattern

# Letters that make words with spaces around them; Chinese characters are not among them.
LETTER = r"[0-9a-z\u00c0-\u024f\u0370-\u052f\u0590-\u07ff]"
BETWEEN = r"[ ._-]"  # what stands between the parts of a name in texts, mail addresses and accounts
Tree = dict[str, "Tree"]


def patterns(names: Iterable[str]) -> list[Pattern]:
    """The longest name wins. A name that begins or ends with a Latin letter needs a word border on that side;
    a Chinese one needs none, because nothing parts words there. Letter case does not matter."""
    latin, other = list[str](), list[str]()
    for name in {Folded(name.strip()).text for name in names}:
        (latin if re.search(LETTER, name) else other).append(name)
    built = [
        Pattern("name", _openings(latin), (LETTER,), (LETTER,), tuple(sorted({name[0] for name in latin}))),
        Pattern("name", _openings(other), triggers=tuple(sorted({name[0] for name in other}))),
    ]
    return [pattern for pattern in built if pattern.openings]


def _openings(names: list[str]) -> tuple[tuple[str, str], ...]:
    tree: Tree = {}
    for name in names:
        place = tree
        for character in name:
            place = place.setdefault(BETWEEN if character in " ._-" else re.escape(character), {})
        place[""] = {}
    return tuple((first, _expression(rest)) for first, rest in sorted(tree.items()))


def _expression(tree: Tree) -> str:
    """Of all that may follow; the end of a name comes last, so that the longest is tried first."""
    ways = [character + _expression(rest) for character, rest in sorted(tree.items()) if character]
    if not ways:
        return ""
    if len(ways) == 1 and "" not in tree:
        return ways[0]
    return f"(?:{'|'.join(ways)}){'?' if '' in tree else ''}"
