"""What a field of a message takes: the value of a token, and what is wrong with one that is none."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from ai102.lint.finding import Fix
from ai102.lint.tokens import Token, integer, number
from ai102.lint.tree import Position, ScalarValue

TRUE, FALSE = ("true", "True", "t"), ("false", "False", "f")
INFINITE = ("inf", "infinity")
# Of google.protobuf.descriptor.FieldDescriptor.cpp_type, which changes with no release.
INT32, INT64, UINT32, UINT64, DOUBLE, FLOAT, BOOL, ENUM, STRING, MESSAGE = range(1, 11)
RANGES = {INT32: (-(2**31), 2**31 - 1), INT64: (-(2**63), 2**63 - 1), UINT32: (0, 2**32 - 1), UINT64: (0, 2**64 - 1)}
# How other tools call Triton's data types.
ALIASES = {
    "FLOAT": "FP32",
    "FLOAT16": "FP16",
    "FLOAT32": "FP32",
    "FLOAT64": "FP64",
    "DOUBLE": "FP64",
    "HALF": "FP16",
    "BFLOAT16": "BF16",
    "BYTES": "STRING",
    "BOOLEAN": "BOOL",
}
KINDS = {
    INT32: "a whole number",
    INT64: "a whole number",
    UINT32: "a whole number",
    UINT64: "a whole number",
    DOUBLE: "a number",
    FLOAT: "a number",
    BOOL: "true or false",
    ENUM: "one of its names",
    STRING: "a quoted string",
    MESSAGE: "a message in braces",
}


def scalar_from_token(text: str, field: Any, is_negative: bool) -> ScalarValue | None:
    sign = -1 if is_negative else 1
    kind = field.cpp_type
    if kind in RANGES:
        whole = integer(text)
        low, high = RANGES[kind]
        return sign * whole if whole is not None and low <= sign * whole <= high else None
    if kind in (DOUBLE, FLOAT):
        value = float(text) if text.lower() in (*INFINITE, "nan") else number(text)
        return None if value is None else sign * value
    if kind == ENUM:
        whole = integer(text)
        if whole is not None and -(2**31) <= sign * whole < 2**31:
            return sign * whole
        return text if text in field.enum_type.values_by_name and not is_negative else None
    if kind == BOOL and not is_negative:
        whole = integer(text)
        if whole in (0, 1):
            return bool(whole)
        return True if text in TRUE else False if text in FALSE else None
    return None


def expected(field: Any) -> str:
    if field.cpp_type == ENUM:
        return f"write one of {', '.join(field.enum_type.values_by_name)}"
    return f"write {KINDS[field.cpp_type]}"


def near(name: str, known: list[str]) -> str | None:
    """The known name that is most like it, to be suggested."""
    close = difflib.get_close_matches(name.lower(), {other.lower(): other for other in known}, n=1, cutoff=0.6)
    return next((other for other in known if other.lower() in close), None)


def is_slip(name: str, meant: str) -> bool:
    """Whether one is so plainly the other misspelt that it may be written in its place."""
    one, other = (text.lower().replace("_", "") for text in (name, meant))
    return one == other or difflib.SequenceMatcher(None, one, other).ratio() >= 0.85


def enum_meant(name: str, known: list[str]) -> str | None:
    """The value that a name without its prefix, in small letters or of another tool's vocabulary stands for."""
    bare = ALIASES.get(name.upper().removeprefix("TYPE_"), name.upper())
    return next((other for other in known if other == bare or other.endswith("_" + bare)), None)


class Wrong(NamedTuple):
    """A value that the field does not take."""

    code: str
    message: str
    advice: str
    fix: Fix | None = None


def wrong_value(token: Token, sign: str, at: Position, field: Any, path: str) -> Wrong:
    """What is wrong with it; `at` spans it with its sign."""
    shown, bare = f"{sign}{token.text}", token.text.strip("\"'")
    if field.cpp_type == ENUM and token.kind in ("name", "string"):
        known = list(field.enum_type.values_by_name)
        meant = enum_meant(bare, known)
        fix = Fix(at.start, at.end, meant) if meant is not None and not sign else None
        close = meant or near(bare, known)
        return Wrong("MR004", f"{path} has no value {shown}", f"write {close}" if close else expected(field), fix)
    if field.cpp_type in RANGES and integer(token.text) is not None:
        low, high = RANGES[field.cpp_type]
        return Wrong("MR005", f"{path} is {shown}, outside {low} to {high}", "write a number in that range")
    right = _rewritten(token, shown, field)
    fix = Fix(at.start, at.end, right) if right is not None else None
    message = f"{path} is {shown}, which is not {KINDS[field.cpp_type]}"
    return Wrong("MR003", message, f"write {right}" if right else expected(field), fix)


def _rewritten(token: Token, shown: str, field: Any) -> str | None:
    """The same value as the field takes it, where that is plain."""
    if field.cpp_type == STRING and token.kind in ("name", "number"):
        return f'"{shown}"'
    bare = shown.strip("\"'").lower()
    if field.cpp_type == BOOL and bare in ("true", "false"):
        return bare
    is_number = field.cpp_type in (*RANGES, DOUBLE, FLOAT) and token.kind == "string"
    inner = token.text[1:-1]
    return inner if is_number and shown == token.text and scalar_from_token(inner, field, False) is not None else None
