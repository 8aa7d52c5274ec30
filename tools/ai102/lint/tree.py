"""A parsed config.pbtxt with the place of every field and value in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

ScalarValue: TypeAlias = str | int | float | bool
STEP = re.compile(r"""\.?(?P<name>\w+)|\[(?P<index>\d+)\]|\["(?P<key>[^"]*)"\]""")


@dataclass(frozen=True)
class Position:
    """text[start:end]; `line` and `column` of its start, from 1."""

    line: int
    column: int
    start: int
    end: int


@dataclass(frozen=True)
class Scalar:
    value: ScalarValue
    at: Position


@dataclass(frozen=True)
class Message:
    """`at` spans the braces; for the file, all of it."""

    fields: tuple[Field, ...]
    at: Position

    def all(self, name: str) -> tuple[Field, ...]:
        """The fields of that name in the order of the file; one for each element of a list."""
        return self._by_name.get(name, ())

    @cached_property
    def _by_name(self) -> dict[str, tuple[Field, ...]]:
        by_name: dict[str, list[Field]] = {}
        for field in self.fields:
            by_name.setdefault(field.name, []).append(field)
        return {name: tuple(fields) for name, fields in by_name.items()}

    def find(self, path: str) -> Field | None:
        """The field at a path such as `input[1].dims[0]` or `parameters["key"].string_value`, if it is written."""
        field, is_whole = _walk(self, path)
        return field if is_whole else None

    def nearest(self, path: str) -> Position | None:
        """Where `path` is, or the nearest written field around it: its value if the path ends in an index or a key."""
        field, is_whole = _walk(self, path)
        if field is None:
            return None
        return field.value.at if is_whole and path.endswith("]") and isinstance(field.value, Scalar) else field.at


@dataclass(frozen=True)
class Field:
    """`at` is the name, `whole` reaches from the name to the value's end with its separator.

    Each element of `dims: [1, 2]` is a field of its own with the same `at` and `whole`.
    """

    name: str
    value: Scalar | Message
    at: Position
    whole: Position


def _walk(message: Message, path: str) -> tuple[Field | None, bool]:
    """The last field of the path that is written, and whether the path ends there."""
    last: Field | None = None
    here: Message | Scalar = message
    same: tuple[Field, ...] = ()
    for step in STEP.finditer(path):
        if step["name"] is not None:
            same = here.all(step["name"]) if isinstance(here, Message) else ()
            chosen = same[0] if same else None
        elif step["index"] is not None:
            index = int(step["index"])
            chosen = same[index] if index < len(same) else None
        else:
            chosen = next((field for field in same if _key(field) == step["key"]), None)
        if chosen is None:
            return last, False
        last, here = chosen, chosen.value
    return last, True


def _key(entry: Field) -> ScalarValue | None:
    """The key of a map's entry."""
    key = entry.value.find("key") if isinstance(entry.value, Message) else None
    return key.value.value if key is not None and isinstance(key.value, Scalar) else None
