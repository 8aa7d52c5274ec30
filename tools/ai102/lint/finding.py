"""What the linter tells: findings at a place in a file, the codes they carry, and repairs that are safe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# An error where tritonserver (2.51, default flags) refuses the model; a warning where it loads and yet hurts.
Severity = Literal["error", "warning"]


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
