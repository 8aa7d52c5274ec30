"""The value of a Python expression, as far as constants, names and a few harmless calls decide it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from ai102.lint.completion.calls import BUILTINS, METHODS_OF, check_unknown_call, known_call
from ai102.lint.completion.model_config import METHODS, ModelConfig
from ai102.lint.completion.operators import COMPARE, UNARY, WIDE, binary
from ai102.lint.completion.values import (
    UNKNOWN,
    Class,
    Function,
    Method,
    Opaque,
    RefusedError,
    UndecidedError,
    Unknown,
    has_unknown,
)

CONVERSIONS: dict[int, Callable[[Any], Any]] = {-1: lambda value: value, 115: str, 114: repr, 97: ascii}
MOST_STEPS = 20_000
Scopes: TypeAlias = tuple[dict[str, Any], ...]


class Expressions:
    """Evaluates in the innermost of `scopes`; what it meets that it does not know is UNKNOWN, or ends the reading."""

    def __init__(self) -> None:
        self.steps = 0
        self.line = 1
        self.tries = 0

    def value(self, node: ast.expr, scopes: Scopes) -> Any:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise UndecidedError
        read = getattr(self, f"_{type(node).__name__.lower()}", None)
        if read is None:
            raise UndecidedError
        try:
            return read(node, scopes)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as err:
            raise UndecidedError from err  # the code raises, or we read it wrongly

    def values(self, nodes: list[ast.expr], scopes: Scopes) -> list[Any]:
        values: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values += self.items(node.value, scopes)
            else:
                values.append(self.value(node, scopes))
        return values

    def items(self, node: ast.expr, scopes: Scopes) -> list[Any]:
        """What a loop over it meets."""
        value = self.value(node, scopes)
        if not isinstance(value, str | list | tuple | dict | range | type({}.items()) | type({}.keys())):
            raise UndecidedError  # an unknown value, or a set, which has no order
        return list(value)

    def truth(self, node: ast.expr, scopes: Scopes) -> bool | None:
        """None where it is not known."""
        return _truth(self.value(node, scopes))

    def assign(self, target: ast.expr, value: Any, scopes: Scopes) -> None:
        if isinstance(target, ast.Name):
            scopes[-1][target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, Unknown):
                value = [UNKNOWN] * len(target.elts)
            if not isinstance(value, list | tuple) or len(value) != len(target.elts):
                raise UndecidedError
            for part, item in zip(target.elts, value, strict=True):
                self.assign(part, item, scopes)
        elif isinstance(target, ast.Subscript):
            owner, key = self.value(target.value, scopes), self.value(target.slice, scopes)
            if isinstance(owner, Unknown | ModelConfig) or isinstance(key, Unknown | slice):
                raise UndecidedError
            owner[key] = value
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value, scopes)
            if not isinstance(owner, Class):
                raise UndecidedError
            owner.attributes[target.attr] = value
        else:
            raise UndecidedError

    def call(self, function: Function, arguments: list[Any], named: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _constant(self, node: ast.Constant, scopes: Scopes) -> Any:
        return node.value

    def _name(self, node: ast.Name, scopes: Scopes) -> Any:
        for scope in reversed(scopes):
            if node.id in scope:
                return scope[node.id]
        return Method(None, node.id) if node.id in BUILTINS else UNKNOWN

    def _list(self, node: ast.List, scopes: Scopes) -> Any:
        return self.values(node.elts, scopes)

    def _tuple(self, node: ast.Tuple, scopes: Scopes) -> Any:
        return tuple(self.values(node.elts, scopes))

    def _set(self, node: ast.Set, scopes: Scopes) -> Any:
        return set(self.values(node.elts, scopes))

    def _dict(self, node: ast.Dict, scopes: Scopes) -> Any:
        content: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            item = self.value(value, scopes)
            if key is None:
                if not isinstance(item, dict):
                    raise UndecidedError
                content |= item
            else:
                content[self.value(key, scopes)] = item
        return content

    def _joinedstr(self, node: ast.JoinedStr, scopes: Scopes) -> Any:
        parts = [self.value(part, scopes) for part in node.values]
        return UNKNOWN if has_unknown(parts) else "".join(parts)

    def _formattedvalue(self, node: ast.FormattedValue, scopes: Scopes) -> Any:
        value = self.value(node.value, scopes)
        spec = self.value(node.format_spec, scopes) if node.format_spec is not None else ""
        if has_unknown([value, spec]) or WIDE.search(spec):
            return UNKNOWN
        return format(CONVERSIONS[node.conversion](value), spec)

    def _binop(self, node: ast.BinOp, scopes: Scopes) -> Any:
        left, right = self.value(node.left, scopes), self.value(node.right, scopes)
        return binary(node.op, left, right)

    def _unaryop(self, node: ast.UnaryOp, scopes: Scopes) -> Any:
        value = self.value(node.operand, scopes)
        if isinstance(node.op, ast.Not):
            truth = _truth(value)
            return UNKNOWN if truth is None else not truth
        return UNKNOWN if has_unknown(value) else UNARY[type(node.op)](value)

    def _boolop(self, node: ast.BoolOp, scopes: Scopes) -> Any:
        ends_at = isinstance(node.op, ast.Or)
        value: Any = None
        for place, part in enumerate(node.values):
            value = self.value(part, scopes)
            truth = _truth(value)
            if truth is None:
                if any(_calls(later) for later in node.values[place + 1 :]):
                    raise UndecidedError
                return UNKNOWN
            if truth == ends_at:
                return value
        return value

    def _compare(self, node: ast.Compare, scopes: Scopes) -> Any:
        left = self.value(node.left, scopes)
        for op, other in zip(node.ops, node.comparators, strict=True):
            right = self.value(other, scopes)
            is_key = isinstance(op, ast.In | ast.NotIn) and isinstance(right, dict) and not has_unknown([left, *right])
            if has_unknown([left, right]) and not is_key:
                return UNKNOWN
            if not COMPARE[type(op)](left, right):
                return False
            left = right
        return True

    def _ifexp(self, node: ast.IfExp, scopes: Scopes) -> Any:
        truth = self.truth(node.test, scopes)
        if truth is None:
            if _calls(node.body) or _calls(node.orelse):
                raise UndecidedError
            return UNKNOWN
        return self.value(node.body if truth else node.orelse, scopes)

    def _namedexpr(self, node: ast.NamedExpr, scopes: Scopes) -> Any:
        value = self.value(node.value, scopes)
        self.assign(node.target, value, scopes)
        return value

    def _lambda(self, node: ast.Lambda, scopes: Scopes) -> Any:
        return Opaque()

    def _slice(self, node: ast.Slice, scopes: Scopes) -> Any:
        ends = [self.value(end, scopes) if end is not None else None for end in (node.lower, node.upper, node.step)]
        if has_unknown(ends):
            raise UndecidedError
        return slice(*ends)

    def _subscript(self, node: ast.Subscript, scopes: Scopes) -> Any:
        owner, key = self.value(node.value, scopes), self.value(node.slice, scopes)
        if isinstance(owner, Unknown) or isinstance(key, Unknown):
            return UNKNOWN
        return owner[key]

    def _attribute(self, node: ast.Attribute, scopes: Scopes) -> Any:
        owner = self.value(node.value, scopes)
        if isinstance(owner, ModelConfig):
            if node.attr == "_model_config":
                return owner.config
            if node.attr not in METHODS:
                known = ", ".join(METHODS)
                raise RefusedError(f"pb_utils.ModelConfig has no {node.attr}", f"it has {known}")
            return Method(owner, node.attr)
        if isinstance(owner, Class):
            return owner.attributes.get(node.attr, UNKNOWN)
        if node.attr in METHODS_OF.get(type(owner), ()):
            return Method(owner, node.attr)
        if isinstance(owner, Unknown):
            return UNKNOWN
        raise UndecidedError

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, scopes: Scopes) -> Any:
        return [self.value(node.elt, inner) for inner in self._each(node.generators, scopes)]

    _generatorexp = _listcomp

    def _setcomp(self, node: ast.SetComp, scopes: Scopes) -> Any:
        return {self.value(node.elt, inner) for inner in self._each(node.generators, scopes)}

    def _dictcomp(self, node: ast.DictComp, scopes: Scopes) -> Any:
        each = self._each(node.generators, scopes)
        return {self.value(node.key, inner): self.value(node.value, inner) for inner in each}

    def _each(self, loops: list[ast.comprehension], scopes: Scopes) -> Iterator[Scopes]:
        """The scopes in which a comprehension evaluates its element, one after the other."""
        if not loops:
            yield scopes
            return
        first, *others = loops
        for item in self.items(first.iter, scopes):
            inner = (*scopes, {})
            self.assign(first.target, item, inner)
            truths = [self.truth(test, inner) for test in first.ifs]
            if None in truths:
                raise UndecidedError
            if all(truths):
                yield from self._each(others, inner)

    def _call(self, node: ast.Call, scopes: Scopes) -> Any:
        function = self.value(node.func, scopes)
        arguments = self.values(node.args, scopes)
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, scopes)
            if keyword.arg is None:
                if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
                    raise UndecidedError
                named |= value
            else:
                named[keyword.arg] = value
        self.line = node.lineno
        if isinstance(function, Method) and isinstance(function.owner, ModelConfig):
            function.owner.line = node.lineno
            return function.owner.call(function.name, arguments, named)
        if isinstance(function, Method):
            return known_call(function, arguments, named)
        if isinstance(function, Function):
            return self.call(function, arguments, named)
        if self.tries:
            raise UndecidedError  # it may raise, and be caught
        check_unknown_call(node, function, [*arguments, *named.values()])
        return UNKNOWN


def _truth(value: Any) -> bool | None:
    return None if isinstance(value, Unknown) else bool(value)


def _calls(node: ast.AST) -> bool:
    """Whether evaluating it may change anything."""
    return any(isinstance(part, ast.Call | ast.NamedExpr | ast.Await | ast.Yield) for part in ast.walk(node))
