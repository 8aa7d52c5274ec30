"""Edits of models.toml that keep its comments and its layout: tables added and taken out, values set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple, TypeAlias

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, Comment, InlineTable, Item, Key, SingleKey, Table, Whitespace

from ai102.errors import UserError

HEADER = """\
# The contract: what is served, from which weights, how well and how fast it must be.
# After a change: `ai102 engine`.
"""
WIDTH = 120
INDENT = "    "

# What tomlkit keeps of a table, in the order of the file; comments and blank lines have no key.
Body: TypeAlias = "list[tuple[Key | None, Item]]"


class Place(NamedTuple):
    """An item and the body that holds it."""

    body: Body
    item: Item


def with_tables(text: str, tables: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """`text` with a table [KIND.NAME] appended for each (KIND, NAME); keys with an empty value are left out."""
    blocks = [(text or HEADER).rstrip("\n") + "\n"]
    for (kind, name), values in tables.items():
        table = tomlkit.table()
        for key, value in values.items():
            if value is not None and value not in ([], {}):
                table.add(key, _item(value))
        blocks.append(tomlkit.dumps({kind: {name: table}}))
    return "\n".join(blocks)


def without_table(text: str, kind: str, name: str) -> str:
    """`text` without [KIND.NAME] and the comment directly above it.

    Comments between it and the next table stay, since they describe that one. Raises UserError when the table is
    not written as one block that begins with its header.
    """
    document = tomlkit.parse(text)
    try:
        parents = [
            item.value.body for key, item in document.body if key and key.key == kind and isinstance(item, Table)
        ]
        parent, table = next(
            (body, item)
            for body in parents
            for key, item in body
            if key and key.key == name and isinstance(item, Table)
        )
    except StopIteration as err:
        raise _by_hand(kind, name) from err
    _take_out(document.body, parent, table)
    document.body[:] = [(key, item) for key, item in document.body if not _is_empty_parent(item)]
    remaining = tomlkit.dumps(document).strip("\n") + "\n"
    if table.display_name is None or name in tomlkit.parse(remaining).get(kind, {}):
        raise _by_hand(kind, name)
    return remaining


def with_values(text: str, kind: str, name: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """`text` with these values in the tables inside [KIND.NAME]; 0 and the empty list take a key out.

    Raises UserError where that is not written as a table.
    """
    document = tomlkit.parse(text)
    try:
        table: Any = document[kind][name]
        for key, values in tables.items():
            if values:
                _set(table, key, values)
    except (TOMLKitError, KeyError, TypeError) as err:
        wish = ", ".join(f"{key} = {dict(values)}" for key, values in tables.items() if values)
        raise UserError(f"models.toml: {kind}.{name} is not written as a table: write {wish} by hand") from err
    return tomlkit.dumps(document)


def _by_hand(kind: str, name: str) -> UserError:
    return UserError(f"models.toml: {kind}.{name} is not written as one table [{kind}.{name}]: remove it by hand")


def _take_out(document: Body, parent: Body, table: Table) -> None:
    """Remove the table from its parent, with the comment right above it; the comments behind its last key stay."""
    above = list(takewhile(lambda place: place.item is not table, _in_order(document)))
    comment = list(takewhile(lambda place: isinstance(place.item, Comment), reversed(above)))
    if comment and comment[-1].item is document[0][1]:
        comment = []  # it is the head of the file
    for place in (*comment, Place(parent, table)):
        del place.body[_index(place)]
    rest, last_comments = above[: len(above) - len(comment)], _trailing_comments(table.value.body)
    if not rest:
        document[0:0] = last_comments
    elif isinstance(rest[-1].item, Table):
        rest[-1].item.value.body[0:0] = last_comments
    else:
        behind = _index(rest[-1]) + 1
        rest[-1].body[behind:behind] = last_comments


def _index(place: Place) -> int:
    """By identity: two comments of the same words are equal."""
    return next(index for index, (_, item) in enumerate(place.body) if item is place.item)


def _in_order(body: Body) -> Iterator[Place]:
    """Everything in the file that has lines of its own; a table before what is in it."""
    for _, item in list(body):
        if not (isinstance(item, Table) and item.is_super_table()):
            yield Place(body, item)
        if isinstance(item, Table):
            yield from _in_order(item.value.body)


def _trailing_comments(body: Body) -> Body:
    """The comments behind the last key, also where that key is in a table inside, without the blank lines before."""
    items = [place.item for place in _in_order(body)]
    tail = list(takewhile(lambda item: isinstance(item, Comment | Whitespace), reversed(items)))
    return [(None, item) for item in dropwhile(lambda item: isinstance(item, Whitespace), reversed(tail))]


def _is_empty_parent(item: Item) -> bool:
    return isinstance(item, Table) and item.is_super_table() and not item.value.body


def _item(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _inline_table({key: _item(inner) for key, inner in value.items() if inner is not None})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _array([_item(inner) for inner in value])
    return tomlkit.item(value)


def _array(items: list[Any]) -> Array:
    """In one line, or a table a line, or as many values a line as fit."""
    array = tomlkit.array()
    if len(items) > 1 and isinstance(items[0], InlineTable):
        array.extend(items)
        return array.multiline(True)
    lines: list[list[Any]] = [[]]
    for item in items:
        if lines[-1] and len(INDENT) + sum(len(one.as_string()) + 2 for one in [*lines[-1], item]) > WIDTH:
            lines.append([])
        lines[-1].append(item)
    if len(lines) == 1 and sum(len(one.as_string()) + 2 for one in items) + len("outputs = []") <= WIDTH:
        array.extend(items)
        return array
    for line in lines:
        array.add_line(*line, indent=INDENT)
    array.add_line(indent="")
    return array


def _inline_table(items: Mapping[str, Any]) -> InlineTable:
    """Spaced as one writes it: tomlkit writes none inside the braces, and leaves a gap where a key is taken out."""
    entries = ", ".join(f"{SingleKey(key).as_string()} = {item.as_string().strip()}" for key, item in items.items())
    table = tomlkit.parse(f"it = {{ {entries} }}\n")["it"]
    assert isinstance(table, InlineTable)
    return table


def _set(table: Any, key: str, values: Mapping[str, Any]) -> None:
    inner = table.setdefault(key, tomlkit.inline_table())
    for name, value in values.items():
        if value in (0, []):  # the same as no key
            inner.pop(name, None)
        else:
            inner[name] = value
    if isinstance(inner, InlineTable):
        spaced = _inline_table(inner.value)
        spaced.trivia.comment_ws, spaced.trivia.comment = inner.trivia.comment_ws, inner.trivia.comment
        table[key] = spaced
