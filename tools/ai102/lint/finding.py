"""The linter's results: findings at a place in a file, the codes they carry, and repairs that are safe."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

# An error where tritonserver (2.51, default flags) refuses the model; a warning where it loads and will cause trouble.
Severity = Literal["error", "warning"]


MOST_LETTERS = 80  # of one word in a message, such as a number of thousands of digits


def in_one_line(text: str) -> str:
    """The text without what is not printable, and with very long words cut."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return re.sub(
        rf"[^\s,;:]{{{MOST_LETTERS + 1},}}", lambda word: f"{word[0][:40]}...({len(word[0])} characters)", plain
    )


@dataclass(frozen=True, order=True)
class Fix:
    """Put `text` in the place of config.pbtxt[start:end]; offsets count characters."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, order=True)
class Finding:
    """`path` is relative to the repository's root, with slashes; `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    code: str
    severity: Severity
    message: str
    advice: str
    fix: Fix | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Code:
    """A kind of finding; `why` says what is wrong, why it matters, what to write and how that is known."""

    code: str
    severity: Severity
    title: str
    why: str
