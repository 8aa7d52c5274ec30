"""Follows the statements of a Python file as far as they can be known without running it."""

from __future__ import annotations

import ast
from typing import Any

from ai102.lint.completion.expressions import Expressions, Scopes
from ai102.lint.completion.model_config import ModelConfig
from ai102.lint.completion.operators import binary
from ai102.lint.completion.values import UNKNOWN, Class, Function, Opaque, RefusedError, UndecidedError

MOST_CALLS = 20  # inside each other


class ReturnSignal(Exception):  # noqa: N818 - no error
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class BreakSignal(Exception):  # noqa: N818
    pass


class ContinueSignal(Exception):  # noqa: N818
    pass


class Interpreter(Expressions):
    """Raises UndecidedError where it cannot follow, RefusedError where the code raises."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def module(self, tree: ast.Module) -> dict[str, Any]:
        """The names of a module; a statement that cannot be followed leaves UNKNOWN what it touches."""
        names: dict[str, Any] = {}
        for statement in tree.body:
            try:
                self.statement(statement, (names,))
            except UndecidedError:
                names |= dict.fromkeys(_names_in(statement), UNKNOWN)
        return names

    def call(self, function: Function, arguments: list[Any], named: dict[str, Any]) -> Any:
        if self.depth >= MOST_CALLS or not function.decorators <= {"staticmethod", "classmethod"}:
            raise UndecidedError
        if "classmethod" in function.decorators:
            arguments = [function.owner, *arguments]
        scope = self._bound(function.node.args, function.scopes, arguments, named)
        self.depth += 1
        try:
            self.block(function.node.body, (*function.scopes, scope))
        except ReturnSignal as done:
            return done.value
        finally:
            self.depth -= 1
        return None

    def block(self, statements: list[ast.stmt], scopes: Scopes) -> None:
        for statement in statements:
            self.statement(statement, scopes)

    def statement(self, node: ast.stmt, scopes: Scopes) -> None:
        self.line = node.lineno
        follow = getattr(self, f"_do_{type(node).__name__.lower()}", None)
        if follow is None:
            raise UndecidedError
        try:
            follow(node, scopes)
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as err:
            raise UndecidedError from err

    def _bound(
        self, parameters: ast.arguments, scopes: Scopes, arguments: list[Any], named: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments by name. A call that does not fit is not judged here."""
        names = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
        if parameters.vararg or parameters.kwarg or len(arguments) > len(names):
            raise UndecidedError
        scope = dict(zip(names, arguments, strict=False))
        defaults = dict(zip(names[len(names) - len(parameters.defaults) :], parameters.defaults, strict=True))
        keywords = zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)
        defaults |= {parameter.arg: default for parameter, default in keywords if default is not None}
        known = {*names, *(parameter.arg for parameter in parameters.kwonlyargs)}
        if not named.keys() <= known - scope.keys():
            raise UndecidedError
        scope |= named
        for name in known - scope.keys():
            if name not in defaults or not isinstance(defaults[name], ast.Constant):
                raise UndecidedError
            scope[name] = self.value(defaults[name], scopes)
        return scope

    def _do_expr(self, node: ast.Expr, scopes: Scopes) -> None:
        self.value(node.value, scopes)

    def _do_pass(self, node: ast.Pass, scopes: Scopes) -> None:
        pass

    def _do_assign(self, node: ast.Assign, scopes: Scopes) -> None:
        value = self.value(node.value, scopes)
        for target in node.targets:
            self.assign(target, value, scopes)

    def _do_annassign(self, node: ast.AnnAssign, scopes: Scopes) -> None:
        if node.value is not None:
            self.assign(node.target, self.value(node.value, scopes), scopes)

    def _do_augassign(self, node: ast.AugAssign, scopes: Scopes) -> None:
        old, new = self.value(node.target, scopes), self.value(node.value, scopes)
        if isinstance(old, list) and isinstance(node.op, ast.Add) and isinstance(new, list | tuple):
            old += new  # the list itself, by whatever name it is known
        elif isinstance(old, list | dict | set):
            raise UndecidedError
        else:
            self.assign(node.target, binary(node.op, old, new), scopes)

    def _do_return(self, node: ast.Return, scopes: Scopes) -> None:
        raise ReturnSignal(self.value(node.value, scopes) if node.value is not None else None)

    def _do_break(self, node: ast.Break, scopes: Scopes) -> None:
        raise BreakSignal

    def _do_continue(self, node: ast.Continue, scopes: Scopes) -> None:
        raise ContinueSignal

    def _do_if(self, node: ast.If, scopes: Scopes) -> None:
        truth = self.truth(node.test, scopes)
        if truth is not None:
            self.block(node.body if truth else node.orelse, scopes)
            return
        names: set[str] = set()
        for statement in (*node.body, *node.orelse):
            names |= self._only_names(statement)
        for name in names:
            scopes[-1][name] = UNKNOWN

    def _only_names(self, statement: ast.stmt) -> set[str]:
        """The names that a statement sets, where it does nothing else."""
        if isinstance(statement, ast.Pass):
            return set()
        if not isinstance(statement, ast.Assign) or not all(isinstance(name, ast.Name) for name in statement.targets):
            raise UndecidedError
        if any(isinstance(part, ast.Call | ast.NamedExpr) for part in ast.walk(statement)):
            raise UndecidedError
        return {name.id for name in statement.targets if isinstance(name, ast.Name)}

    def _do_for(self, node: ast.For, scopes: Scopes) -> None:
        for item in self.items(node.iter, scopes):
            self.assign(node.target, item, scopes)
            try:
                self.block(node.body, scopes)
            except BreakSignal:
                return
            except ContinueSignal:
                continue
        self.block(node.orelse, scopes)

    def _do_while(self, node: ast.While, scopes: Scopes) -> None:
        while truth := self.truth(node.test, scopes):
            try:
                self.block(node.body, scopes)
            except BreakSignal:
                return
            except ContinueSignal:
                continue
        if truth is None:
            raise UndecidedError
        self.block(node.orelse, scopes)

    def _do_import(self, node: ast.Import, scopes: Scopes) -> None:
        scopes[-1].update(dict.fromkeys(_names_in(node), UNKNOWN))

    def _do_importfrom(self, node: ast.ImportFrom, scopes: Scopes) -> None:
        scopes[-1].update(dict.fromkeys(_names_in(node), UNKNOWN))

    def _do_functiondef(self, node: ast.FunctionDef, scopes: Scopes) -> None:
        scopes[-1][node.name] = Function(node, scopes)

    def _do_asyncfunctiondef(self, node: ast.AsyncFunctionDef, scopes: Scopes) -> None:
        scopes[-1][node.name] = Opaque()

    def _do_classdef(self, node: ast.ClassDef, scopes: Scopes) -> None:
        bases = [base.id if isinstance(base, ast.Name) else "" for base in node.bases]
        new = Class(node.name, {}, bases in ([], ["object"]), bool(node.keywords or node.decorator_list))
        for statement in node.body:
            try:
                self.statement(statement, (*scopes, new.attributes))
            except UndecidedError:
                new.attributes |= dict.fromkeys(_names_in(statement), UNKNOWN)
        for attribute in new.attributes.values():
            if isinstance(attribute, Function) and attribute.owner is None:
                attribute.owner, attribute.scopes = new, scopes
        scopes[-1][node.name] = new

    def _do_raise(self, node: ast.Raise, scopes: Scopes) -> None:
        kind = ast.unparse(node.exc) if node.exc is not None else "an error"
        raise RefusedError(f"the code raises {kind}", "correct what it refuses")

    def _do_assert(self, node: ast.Assert, scopes: Scopes) -> None:
        if self.truth(node.test, scopes) is False:
            raise RefusedError(f"assert {ast.unparse(node.test)} does not hold", "correct what it refuses")

    def _do_delete(self, node: ast.Delete, scopes: Scopes) -> None:
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                owner, key = self.value(target.value, scopes), self.value(target.slice, scopes)
                if not isinstance(owner, dict | list):
                    raise UndecidedError
                del owner[key]
            elif isinstance(target, ast.Name):
                scopes[-1].pop(target.id)
            else:
                raise UndecidedError

    def _do_try(self, node: ast.Try, scopes: Scopes) -> None:
        """The body, as long as surely nothing in it raises."""
        self.tries += 1
        try:
            self.block(node.body, scopes)
        except RefusedError as err:
            if node.handlers:
                raise UndecidedError from err
            self.block(node.finalbody, scopes)
            raise
        except (ReturnSignal, BreakSignal, ContinueSignal):
            self.block(node.finalbody, scopes)
            raise
        finally:
            self.tries -= 1
        self.block([*node.orelse, *node.finalbody], scopes)


def completed_by(tree: ast.Module, class_name: str, config: ModelConfig) -> bool:
    """Have the code complete `config`; False where it has nothing that does.

    Raises RefusedError where the server refuses what the code does, UndecidedError where only a run would show it.
    """
    interpreter = Interpreter()
    try:
        model = interpreter.module(tree).get(class_name)
        if not isinstance(model, Class) or model.is_wrapped:
            raise UndecidedError
        if "auto_complete_config" not in model.attributes and model.is_whole:
            return False
        function = model.attributes.get("auto_complete_config")
        if not isinstance(function, Function):
            raise UndecidedError
        interpreter.line = function.node.lineno
        _check_parameters(function)
        returned = interpreter.call(function, [config], {})
    finally:
        config.line = interpreter.line
    if returned is UNKNOWN or isinstance(returned, Opaque):
        raise UndecidedError
    if returned is not config:
        shown = "nothing" if returned is None else f"a {type(returned).__name__}"
        message = f"auto_complete_config returns {shown} in place of the config that it was given"
        raise RefusedError(message, f"end it with: return {_parameter(function)}")
    return True


def _names_in(statement: ast.stmt) -> set[str]:
    """Every name that the statement may set, or may change the value of."""
    names: set[str] = set()
    for part in ast.walk(statement):
        if isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(part.name)
        elif isinstance(part, ast.Import | ast.ImportFrom):
            names |= {(name.asname or name.name).partition(".")[0] for name in part.names}
    return names


def _check_parameters(function: Function) -> None:
    """The server calls it with the config alone."""
    parameters = function.node.args
    names = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
    if parameters.vararg is not None:
        raise UndecidedError
    needed = 2 if "classmethod" in function.decorators else 1
    is_short = None in parameters.kw_defaults
    if not len(names) - len(parameters.defaults) <= needed <= len(names) or is_short:
        shown = f"({', '.join(names)})"
        message = f"auto_complete_config has the parameters {shown}, and the server passes the config alone"
        raise RefusedError(message, "write @staticmethod and def auto_complete_config(auto_complete_model_config)")


def _parameter(function: Function) -> str:
    parameters = function.node.args
    return [*parameters.posonlyargs, *parameters.args][-1].arg
