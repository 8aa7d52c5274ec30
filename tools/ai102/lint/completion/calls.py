"""Calls of Python's own functions and methods, as far as their results are known without running the model's code."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from ai102.lint.completion.operators import WIDE
from ai102.lint.completion.values import (
    MOST_ITEMS,
    UNKNOWN,
    Method,
    Opaque,
    UndecidedError,
    has_unknown,
    may_be_changed,
)

# Those whose result does not depend on what the items are.
OF_ITEMS: dict[str, Callable[..., Any]] = {
    "len": len,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "enumerate": lambda *given, **named: list(enumerate(*given, **named)),
    "zip": lambda *given, **named: list(zip(*given, **named)),  # noqa: B905 - as the caller says
    "reversed": lambda items: list(reversed(items)),
}
OF_VALUES: dict[str, Callable[..., Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "set": set,
    "repr": repr,
    "abs": abs,
    "min": min,
    "max": max,
    "sum": sum,
    "any": any,
    "all": all,
    "sorted": sorted,
    "range": range,
}
OF_SETS = ("len", "sorted", "min", "max", "sum", "any", "all", "bool", "set")
BUILTINS = OF_ITEMS | OF_VALUES | {"print": lambda *given, **named: None}
TEXT_METHODS = (
    "upper", "lower", "strip", "lstrip", "rstrip", "startswith", "endswith", "removeprefix", "removesuffix", "split",
    "join", "format", "replace", "title", "capitalize", "partition", "isdigit",
)  # fmt: skip
LIST_METHODS = ("append", "extend", "insert", "copy", "index", "count", "pop", "remove", "reverse", "clear")
DICT_METHODS = ("get", "items", "keys", "values", "copy", "pop", "setdefault", "update")
METHODS_OF: dict[Any, tuple[str, ...]] = {
    str: TEXT_METHODS,
    list: LIST_METHODS,
    dict: DICT_METHODS,
    tuple: ("index", "count"),
    set: ("add",),
}
# Modules and objects whose functions leave their arguments as they are.
HARMLESS = ("json", "copy", "logging", "logger", "log", "np", "numpy", "pb_utils", "os", "math")
MOST_LETTERS = 2_000


def known_call(function: Method, arguments: list[Any], named: dict[str, Any]) -> Any:
    """A builtin function, or a method of a text, list, dict, tuple or set."""
    owner, name = function.owner, function.name
    if owner is None:
        if name == "print":
            return None
        if name not in OF_SETS and any(isinstance(argument, set | frozenset) for argument in arguments):
            raise UndecidedError  # the order of a set is another in each run
        is_open = has_unknown([arguments, named]) if name in OF_VALUES else UNKNOWN in arguments
        return UNKNOWN if is_open else _bounded(BUILTINS[name](*arguments, **named))
    is_text = isinstance(owner, str)
    has_set = any(isinstance(argument, set | frozenset) for argument in arguments)
    if has_set or (name == "format" and WIDE.search(owner)):
        raise UndecidedError
    if is_text and (has_unknown([arguments, named]) or sum(map(_letters, [owner, *arguments])) > MOST_LETTERS):
        return UNKNOWN
    may_hold = name in ("append", "insert", "extend", "update", "setdefault")
    if not may_hold and has_unknown([arguments, named]):
        raise UndecidedError
    if name in ("extend", "update") and UNKNOWN in arguments:
        raise UndecidedError
    result = getattr(owner, name)(*arguments, **named)
    _bounded(owner)
    return list(result) if name in ("items", "keys", "values") and isinstance(owner, dict) else _bounded(result)


def check_unknown_call(node: ast.Call, function: Any, arguments: list[Any]) -> None:
    """Raise UndecidedError where the call may change what is known."""
    root = node.func
    while isinstance(root, ast.Attribute):
        root = root.value
    is_harmless = isinstance(root, ast.Name) and root.id in HARMLESS and not isinstance(function, Opaque)
    changes = [value for value in arguments if may_be_changed(value)]
    holds_more = [value for value in changes if not isinstance(value, list | dict) or has_unknown(value)]
    if isinstance(function, Opaque) or (holds_more if is_harmless else changes):
        raise UndecidedError


def _letters(value: Any) -> int:
    """Of a text, or of all texts in a list."""
    if isinstance(value, list | tuple | dict | set):
        return sum(map(_letters, value)) + len(value)
    return len(value) if isinstance(value, str) else 1


def _bounded(value: Any) -> Any:
    if hasattr(value, "__len__") and len(value) > MOST_ITEMS:
        raise UndecidedError
    return value
