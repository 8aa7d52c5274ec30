"""The masker: one pass over a text or a record, by the rules of masking.toml."""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args

from ai102.masking import keys, marks, names, patterns
from ai102.masking.folding import Folded
from ai102.masking.pattern import Pattern
from ai102.masking.rules import Kind, Rule, Rules, load

DEEPEST = 32
MOST_PASSES = 8
# Keys and words of records come again and again. Only texts with nothing to mask are remembered.
LONGEST_REMEMBERED, MOST_REMEMBERED = 40, 4096
APART = frozenset(("", *" \t\n,;\"'[]{}<>"))  # beside these nothing is seen otherwise than beside a mark
# A record's key whose whole value is a secret ends in one of these words, with or without one of these suffixes;
# compared without signs and letter case.
SECRET_WORDS = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "signature", "token", "apikey", "accesskey",
    "authkey", "privatekey", "credential", "credentials", "authorization", "cookie", "密码", "密钥", "口令", "令牌",
)  # fmt: skip
SECRET_SUFFIXES = ("", *(f"{before}{word}" for before in ("", "access") for word in ("key", "value", "hash", "id")))
SECRET_ENDINGS = tuple(word + suffix for word in SECRET_WORDS for suffix in SECRET_SUFFIXES)

Spot = tuple[str, int, int]  # kind, start, end
# (triggers, gate, patterns behind them with their ranks)
Gate = tuple[tuple[str, ...], re.Pattern[str] | None, list[tuple[int, Pattern]]]


@dataclass(frozen=True)
class Match:
    """Something to mask: where it stands in the source, of what kind it is, and its mark."""

    start: int
    end: int
    kind: str
    mark: str


class Masker:
    """Of several matches the leftmost wins, then the longest, then the rule that stands first in masking.toml.

    Making one raises UserError when a rule wants a salt or a key that is not there. It may be used by many threads.
    """

    def __init__(self, rules: Rules) -> None:
        self._gates = _gates([pattern for rule in rules.rules for pattern in patterns_of(rule)])
        self._marks: dict[str, Callable[[str, str], str]] = {rule.kind: _mark_of(rule, rules) for rule in rules.rules}
        self._secret = self._marks.get("secret", marks.replaced)
        self._keys = {plain_key(key) for key in rules.keys}
        self._harmless: set[str] = set()
        self._is_secret = functools.lru_cache(MOST_REMEMBERED)(self._names_secret)

    @classmethod
    def of(cls, path: Path = Path("masking.toml")) -> Masker:
        return cls(load(path))

    @classmethod
    def beside(cls, folder: Path) -> Masker:
        """By the folder's masking.toml; where there is none, everything of every kind is replaced."""
        file = folder / "masking.toml"
        return cls.of(file) if file.exists() else cls(Rules(rules=tuple(Rule(kind=kind) for kind in get_args(Kind))))

    def mask(self, text: str) -> str:
        """`text` with all that the rules name masked; masking it again changes nothing."""
        parts, begin = list[str](), 0
        for match in self.find(text):
            parts += text[begin : match.start], match.mark
            begin = match.end
        return "".join((*parts, text[begin:])) if parts else text

    def find(self, text: str) -> Iterator[Match]:
        """All that `mask` would mask, from left to right; the spans do not overlap."""
        folded = Folded(text)
        for kind, start, end in _settled(folded.text, self._gates):
            begin, stop = folded.original(start, end)
            yield Match(begin, stop, kind, self._marks[kind](kind, text[begin:stop]))

    def mask_record(self, record: Mapping[Any, Any]) -> dict[Any, Any]:
        """A copy of `record` with every string in it masked, keys too; values of keys that name a secret go whole.

        Mappings, lists, tuples and sets are followed 32 deep. A number or other object stays as it is unless what it
        prints as holds something to mask.
        """
        masked: dict[Any, Any] = self._value(record, 0)
        return masked

    def _value(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if depth >= DEEPEST:
            return "[too deep]"
        if isinstance(value, Mapping):
            return {self._value(key, depth + 1): self._member(key, one, depth + 1) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return self._collection(value, depth + 1)
        if isinstance(value, bytes | bytearray):
            text = bytes(value).decode("utf-8", "surrogateescape")
            return self.mask(text).encode("utf-8", "surrogateescape")
        plain = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        masked = self._text(plain)
        return value if masked == plain else masked

    def _text(self, text: str) -> str:
        if text in self._harmless:
            return text
        masked = self.mask(text)
        if masked == text and len(text) <= LONGEST_REMEMBERED:
            if len(self._harmless) >= MOST_REMEMBERED:
                self._harmless = set()
            self._harmless.add(text)
        return masked

    def _collection(self, value: Any, depth: int) -> Any:
        values = list(value)
        if len(values) == 2 and isinstance(values[0], str | bytes):  # a header: ("authorization", "...")
            key = values[0].decode("latin-1") if isinstance(values[0], bytes) else values[0]
            masked = [self._value(values[0], depth), self._member(key, values[1], depth)]
        else:
            masked = [self._value(one, depth) for one in values]
        if isinstance(value, list):
            return masked
        if isinstance(value, set | frozenset):
            return {_hashable(one) for one in masked}
        return tuple(masked)

    def _member(self, key: Any, value: Any, depth: int) -> Any:
        if value is None or not isinstance(key, str) or not self._is_secret(key):
            return self._value(value, depth)
        if not isinstance(value, str):
            return "[secret]"
        return value if patterns.WHOLE_MARK.fullmatch(value.lower()) else self._secret("secret", value)

    def _names_secret(self, key: str) -> bool:
        plain = plain_key(key)
        return plain in self._keys or plain.endswith(SECRET_ENDINGS)


def _gates(patterns: list[Pattern]) -> list[Gate]:
    """The patterns by what opens them, so that one look at a line settles several; ranks keep their order."""
    gates: dict[tuple[tuple[str, ...], str], list[tuple[int, Pattern]]] = {}
    for rank, pattern in enumerate(patterns):
        gates.setdefault((pattern.triggers, pattern.gate), []).append((rank, pattern))
    return [(triggers, re.compile(gate) if gate else None, behind) for (triggers, gate), behind in gates.items()]


def _settled(text: str, gates: list[Gate]) -> list[Spot]:
    """All spots, also those that only show once their neighbour is masked, such as a number beside a number.

    Each spot is struck out and the text searched again, until there is nothing new. For most lines, where signs or
    spaces stand around every spot, one search is enough.
    """
    spots = list(_spans(text, gates))
    new = spots
    for _ in range(MOST_PASSES):
        if not any(_touches(text, spot) for spot in new):
            break
        text = _struck_out(text, new)
        new = list(_spans(text, gates))
        spots = sorted([*(spot for spot in spots if not _is_covered(spot, new)), *new], key=itemgetter(1))
    return spots


def _touches(text: str, spot: Spot) -> bool:
    _, start, end = spot
    return (start > 0 and text[start - 1] not in APART) or text[end : end + 1] not in APART


def _struck_out(text: str, spots: list[Spot]) -> str:
    parts, begin = list[str](), 0
    for _, start, end in spots:
        parts += text[begin:start], patterns.STRUCK * (end - start)
        begin = end
    return "".join((*parts, text[begin:]))


def _is_covered(spot: Spot, by: list[Spot]) -> bool:
    place = bisect_left(by, spot[2], key=itemgetter(1))  # the spots before it begin before this one ends
    return place > 0 and by[place - 1][2] > spot[1]


def _spans(text: str, gates: list[Gate]) -> Iterator[Spot]:
    """(kind, start, end) in folded text. Every pattern is searched once from left to right, and again only where its
    match was overlapped by another: the work is linear in the text."""
    waiting: list[tuple[int, int, int, Pattern]] = []  # start, -end, rank: the order of precedence
    for triggers, gate, behind in gates:
        if gate and not gate.search(text):
            continue
        for trigger in triggers:
            if trigger in text:
                break
        else:
            if triggers:
                continue
        for rank, pattern in behind:
            if span := pattern.next_in(text, 0):
                waiting.append((span[0], -span[1], rank, pattern))
    while waiting:
        begin, minus_end, _, best = min(waiting, key=_precedence)
        end = -minus_end
        yield best.kind, begin, end
        left = [one for one in waiting if one[0] >= end]
        for start, _, rank, pattern in waiting:
            if start < end and (span := pattern.next_in(text, end)):
                left.append((span[0], -span[1], rank, pattern))
        waiting = left


def _precedence(candidate: tuple[int, int, int, Pattern]) -> tuple[int, int, int]:
    return candidate[:3]


def patterns_of(rule: Rule) -> list[Pattern]:
    """All patterns of a rule, in the order of their precedence."""
    if rule.kind == "ip":
        return patterns.ip(rule.spare)
    return names.patterns(rule.names) if rule.kind == "name" else patterns.BUILT[rule.kind]()


def _mark_of(rule: Rule, rules: Rules) -> Callable[[str, str], str]:
    match rule.action:
        case "replace":
            return marks.replaced
        case "keep":
            return marks.kept
        case "hash":
            return marks.hashed(keys.salt(rules.salt))
        case "seal":
            return marks.sealed(rules.seal.key, keys.key(rules.seal, rules.seal.key))


def plain_key(key: str) -> str:
    """A record's key without signs and letter case."""
    return "".join(character for character in Folded(key).text if character.isalnum())


def _hashable(value: Any) -> Any:
    return value if value.__hash__ else str(value)
