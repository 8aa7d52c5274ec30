"""A place in the tokens of a config.pbtxt, and the problems on the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from ai102.lint.finding import Fix
from ai102.lint.tokens import Token, tokens, unquoted
from ai102.lint.tree import Position


@dataclass(frozen=True)
class Problem:
    """A finding of the parser, before it knows its file."""

    code: str
    at: Position
    message: str
    advice: str
    fix: Fix | None = None


class NotTextFormatError(Exception):
    """The rest of the file cannot be understood."""


class Cursor:
    """One pass over the tokens of one file; `problems` fills on the way."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.next = 0
        self.problems: list[Problem] = []

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def name(self, closing: str) -> Token:
        token = self.token
        if token.kind != "name":
            expected = "the name of a field" + (f" or {closing}" if closing else "")
            hint = "take it out: names are written without quotes" if token.kind == "string" else "take it out"
            self.stop(token.at, f"{shown(token)} in place of {expected}", hint)
        self.next += 1
        return token

    def part(self, token: Token) -> str:
        try:
            return unquoted(token.text)
        except UnicodeDecodeError:
            self.stop(token.at, "the string is not UTF-8", "write it in UTF-8")
        except ValueError as err:
            self.stop(token.at, str(err), "close it with the quote it began with, and write \\\\ for a backslash")

    def skip_value(self) -> None:
        """Past the value of a field whose type is not known."""
        self.take(":")
        opening = self.token
        if opening.kind == "symbol" and opening.text in "{<[":
            depth = 0
            while True:
                if self.token.kind == "end":
                    self.stop(opening.at, f"this {opening.text} is never closed", "close it")
                if self.token.kind == "symbol":
                    depth += (self.token.text in "{<[") - (self.token.text in "}>]")
                self.next += 1
                if depth == 0:
                    return
        self.take("-")
        if self.token.kind not in ("name", "number", "string"):
            self.stop(self.token.at, f"{shown(self.token)} in place of a value", "write a value")
        is_string = self.token.kind == "string"
        self.next += 1
        while is_string and self.token.kind == "string":
            self.next += 1

    def take(self, symbol: str) -> bool:
        is_here = self.token.kind == "symbol" and self.token.text == symbol
        self.next += is_here
        return is_here

    def report(self, code: str, at: Position, message: str, advice: str, fix: Fix | None = None) -> None:
        self.problems.append(Problem(code, at, message, advice, fix))

    def stop(self, at: Position, message: str, advice: str) -> NoReturn:
        self.report("MR001", at, message, advice)
        raise NotTextFormatError


def shown(token: Token) -> str:
    return "the end of the file" if token.kind == "end" else token.text
