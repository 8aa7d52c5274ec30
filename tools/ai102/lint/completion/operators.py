"""Python's operators on known values, within bounds: no small text may have the linter compute for minutes."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from ai102.lint.completion.values import MOST_ITEMS, UNKNOWN, UndecidedError, has_unknown

BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
UNARY: dict[type, Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
# A width that a small text could grow to gigabytes with.
WIDE = re.compile(r"\d{3}|\*")


def binary(op: ast.operator, left: Any, right: Any) -> Any:
    is_sequence = isinstance(left, list | tuple) and isinstance(right, list | tuple)
    if type(op) not in BINARY or (has_unknown([left, right]) and not (isinstance(op, ast.Add) and is_sequence)):
        return UNKNOWN
    sizes = [len(side) for side in (left, right) if hasattr(side, "__len__")]
    if sum(sizes) > MOST_ITEMS:
        raise UndecidedError
    numbers = [abs(side) for side in (left, right) if isinstance(side, int | float)]
    is_steep = isinstance(op, ast.Pow | ast.LShift)
    if max(numbers, default=0) > (64 if is_steep else 2**63):
        return UNKNOWN
    if isinstance(op, ast.Mult) and sizes and sizes[0] * max(numbers, default=0) > MOST_ITEMS:
        raise UndecidedError
    if isinstance(op, ast.Mod) and isinstance(left, str) and WIDE.search(left):
        return UNKNOWN
    return BINARY[type(op)](left, right)
