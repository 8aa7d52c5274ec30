"""Adds tables to models.toml and removes them; every other character stays the same."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ai102.errors import UserError

HEADER = """\
# The contract: what is served, from which weights, how well and how fast it must be.
# After a change: `ai102 engine`.
"""
WIDTH = 120


def with_tables(text: str, tables: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """`text` with a table [KIND.NAME] appended for each (KIND, NAME); keys with an empty value are left out."""
    blocks = [(text or HEADER).rstrip("\n") + "\n"]
    for (kind, name), table in tables.items():
        lines = [f"[{kind}.{name}]", *(f"{key} = {_value(value)}" for key, value in table.items() if _has_value(value))]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def without_table(text: str, kind: str, name: str) -> str:
    """`text` without [KIND.NAME] and the comment directly above it.

    Comments between it and the next table stay, since they describe that one. Raises UserError when the table is
    not written as one block that begins with its header.
    """
    by_hand = UserError(f"models.toml: {kind}.{name} is not written as one table [{kind}.{name}]: remove it by hand")
    try:
        body = tomlkit.parse(text)[kind][name].as_string()
    except (TOMLKitError, AttributeError) as err:
        raise by_hand from err
    header = re.compile(rf'^\[\s*"?{kind}"?\s*\.\s*"?{name}"?\s*\][^\n]*\n', re.MULTILINE)
    for match in header.finditer(text):
        if text.startswith(body, match.end()):
            before = _without_comment_above(text[: match.start()])
            left = before + _trailing_comments(body) + text[match.end() + len(body) :]
            if name not in tomlkit.parse(left).get(kind, {}):
                return left.strip("\n") + "\n"
    raise by_hand


def _has_value(value: Any) -> bool:
    return value is not None and value != [] and value != {}


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items() if inner is not None) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _array([_value(inner) for inner in value], has_tables=any(isinstance(v, Mapping) for v in value))
    return str(tomlkit.item(value).as_string())


def _array(values: list[str], *, has_tables: bool) -> str:
    line = ", ".join(values)
    if has_tables and len(values) > 1:
        return "[\n" + "".join(f"    {value},\n" for value in values) + "]"
    if len(line) + len("outputs = []") <= WIDTH or has_tables:
        return f"[{line}]"
    # Labels may hold spaces: lines are broken only after commas.
    unbroken = textwrap.wrap(
        ", ".join(value.replace(" ", "\0") for value in values),
        WIDTH - 4,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "[\n" + "".join(f"    {line}\n" for line in unbroken).replace("\0", " ") + "]"


def _trailing_comments(body: str) -> str:
    """The comments and blank lines after the last key."""
    lines = body.splitlines(keepends=True)
    keep = len(lines)
    while keep and (not lines[keep - 1].strip() or lines[keep - 1].lstrip().startswith("#")):
        keep -= 1
    return "".join(lines[keep:]).lstrip("\n")


def _without_comment_above(text: str) -> str:
    lines = text.splitlines(keepends=True)
    first = len(lines)
    while first and lines[first - 1].startswith("#"):
        first -= 1
    is_head_of_file = first == 0
    return text if is_head_of_file else "".join(lines[:first])
