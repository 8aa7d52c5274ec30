"""The words of protobuf's text format, each with its place, as the server's C++ parser cuts them."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from ai102.lint.tree import Position

Kind = Literal["name", "number", "string", "symbol", "end"]
BLANK = re.compile(r"(?:[ \t\r\v\f\n]|#[^\n]*)*")
# A string may miss its end here: the parser says so better than "unexpected character".
TOKEN = re.compile(
    r"(?P<name>[A-Za-z_]\w*)"
    r"|(?P<number>(?:\d|\.\d)(?:[eE][+-]?|[\w.])*)"
    r"""|(?P<string>"(?:[^"\\\n]|\\[^\n])*"?|'(?:[^'\\\n]|\\[^\n])*'?)"""
    r"|(?P<symbol>.)",
    re.ASCII | re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:([abfnrtv\\'\"?])|([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
ESCAPED = dict(zip("abfnrtv\\'\"?", "\a\b\f\n\r\t\v\\'\"?", strict=True))
OCTAL = re.compile(r"0[0-7]+")
HEX = re.compile(r"0[xX][0-9a-fA-F]+")
DECIMAL = re.compile(r"0|[1-9]\d*")
MOST_DIGITS = 30
PAST_ALL_RANGES: Final = 10**30
FLOAT = re.compile(r"(?:\d+\.\d*|\.\d+|\d+(?=[eEfF]))(?:[eE][+-]?\d+)?[fF]?")


@dataclass(frozen=True)
class Token:
    kind: Kind
    text: str
    at: Position


class Lines:
    """From an offset in a text to its line and column."""

    def __init__(self, text: str) -> None:
        self.starts = [0, *accumulate(len(line) for line in text.split("\n") for line in (line + "\n",))]

    def position(self, start: int, end: int) -> Position:
        line = bisect_right(self.starts, start)
        return Position(line, start - self.starts[line - 1] + 1, start, end)


def tokens(text: str) -> list[Token]:
    """All of them, ending with one of kind "end"."""
    read: list[Token] = []
    lines, place = Lines(text), 0
    while True:
        blank = BLANK.match(text, place)
        assert blank is not None
        place = blank.end()
        match = TOKEN.match(text, place)
        if match is None:
            return [*read, Token("end", "", lines.position(place, place))]
        kind: Kind = match.lastgroup  # type: ignore[assignment]
        read.append(Token(kind, match[0], lines.position(place, match.end())))
        place = match.end()


def unquoted(text: str) -> str:
    """What a string token stands for. Raises ValueError with what is wrong with it."""
    if len(text) < 2 or text[-1] != text[0] or not _ends(text):
        raise ValueError("the string is not closed on its line")
    inner, parts, place = text[1:-1], bytearray(), 0
    while (slash := inner.find("\\", place)) >= 0:
        parts += inner[place:slash].encode("utf-8", "surrogateescape")
        match = ESCAPE.match(inner, slash)
        if match is None:
            raise ValueError(f"the string has an escape that does not exist, {inner[slash : slash + 2]}")
        parts += _byte_or_character(match)
        place = match.end()
    parts += inner[place:].encode("utf-8", "surrogateescape")
    return parts.decode("utf-8")  # UnicodeDecodeError is a ValueError


def integer(text: str) -> int | None:
    """What an integer token stands for; None when it is none. One past any field's range may become another such."""
    if DECIMAL.fullmatch(text) and len(text) > MOST_DIGITS:
        return PAST_ALL_RANGES  # Python refuses to convert thousands of digits
    if DECIMAL.fullmatch(text):
        return int(text)
    if HEX.fullmatch(text):
        return int(text, 16)
    return int(text, 8) if OCTAL.fullmatch(text) else None


def number(text: str) -> float | None:
    """What a decimal or floating point token stands for; None when it is none (hexadecimal and octal are not)."""
    return float(text.rstrip("fF")) if DECIMAL.fullmatch(text) or FLOAT.fullmatch(text) else None


def _ends(text: str) -> bool:
    """Whether the last quote closes the string: an even number of backslashes is before it."""
    body = text[:-1]
    return (len(body) - len(body.rstrip("\\"))) % 2 == 0


def _byte_or_character(match: re.Match[str]) -> bytes:
    named, octal, byte, short, long = match.groups()
    if named:
        return ESCAPED[named].encode()
    if octal or byte:
        value = int(octal, 8) if octal else int(byte, 16)
        if value > 255:
            raise ValueError(f"the string has an escape past one byte, {match[0]}")
        return bytes([value])
    code = int(short or long, 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"the string has an escape that is no character, {match[0]}")
    return chr(code).encode()
