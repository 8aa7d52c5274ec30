"""What a Python expression stands for when it is read and not run: a real value, or one of a few stand-ins."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MOST_ITEMS = 10_000


class UndecidedError(Exception):
    """What the code does cannot be said without running it."""


class RefusedError(Exception):
    """The code raises, and the server refuses the model. `advice` says what to write."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message, self.advice = message, advice


class Unknown:
    """A value that only a run would show."""

    def __repr__(self) -> str:
        return "an unknown value"


UNKNOWN: Final = Unknown()


@dataclass(eq=False)
class Function:
    """A function of the file, with the names around it."""

    node: ast.FunctionDef
    scopes: tuple[dict[str, Any], ...]
    owner: Class | None = None

    @property
    def decorators(self) -> set[str]:
        return {node.id if isinstance(node, ast.Name) else "" for node in self.node.decorator_list}


@dataclass(eq=False)
class Class:
    """A class of the file. A class that is not whole has base classes; one that is wrapped may be anything at last."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    is_whole: bool = True
    is_wrapped: bool = False


@dataclass(eq=False)
class Method:
    """`name` of an object, ready to be called."""

    owner: Any
    name: str


class Opaque:
    """A callable whose effects are not followed, such as a lambda."""


def has_unknown(value: Any) -> bool:
    """Whether any part of it is not a plain value."""
    return any(not isinstance(part, PLAIN) for part in _parts(value))


def may_be_changed(value: Any) -> bool:
    """Whether a function that gets this may change what we know."""
    return any(not isinstance(part, (*SCALARS, tuple, range, Unknown)) for part in _parts(value))


SCALARS = (str, bytes, int, float, complex, bool, type(None), type(...))
PLAIN = (*SCALARS, list, tuple, dict, set, frozenset, range)


def _parts(value: Any) -> list[Any]:
    """The value and everything in it."""
    parts, ahead, seen = [], [value], set[int]()
    while ahead:
        part = ahead.pop()
        parts.append(part)
        if id(part) in seen:
            continue
        if len(parts) > MOST_ITEMS:
            raise UndecidedError
        if isinstance(part, Mapping):
            seen.add(id(part))
            ahead += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            seen.add(id(part))
            ahead += part
    return parts
