"""The code that a result depends on, as one hash: a module and all that it imports."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

FIRST_PARTY = ("ai102", "ai102_runtime")
# Distributions that are not called what they are imported as.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "google": "protobuf"}
# Libraries that no value passes through: they read settings and check their types.
WITHOUT_INFLUENCE = frozenset({"pydantic", "tomlkit"})


@dataclass(frozen=True)
class _Module:
    code: str  # without comments, layout and docstrings
    imports: tuple[str, ...]  # absolute, each perhaps a name inside a module; what is imported inside functions too


def code_hash(*modules: str) -> str:
    """Of the modules, by dotted name, and of every module of ours that they import, directly or not.

    It depends on names and code alone: comments, docstrings and the folder that the package lies in do not count.
    Imports under `if TYPE_CHECKING:` do not run and do not count either.
    """
    digest = hashlib.sha256()
    for name in sorted(modules_of(*modules)):
        digest.update(f"{name}\n{_parsed(name).code}\n".encode())
    return digest.hexdigest()


def inputs_of_code(*modules: str) -> dict[str, str]:
    """What a step that the modules carry out is made from beside its files: their code, and the libraries it uses."""
    return {"code": code_hash(*modules), **library_versions(*modules)}


def library_versions(*modules: str) -> dict[str, str]:
    """The installed version of every library that the modules import, directly or not; empty where it is missing."""
    libraries = {
        imported.partition(".")[0] for name in modules_of(*modules) for imported in _parsed(name).imports
    } - sys.stdlib_module_names
    used = sorted(libraries - WITHOUT_INFLUENCE - set(FIRST_PARTY))
    return {distribution: _version(distribution) for distribution in (DISTRIBUTIONS.get(name, name) for name in used)}


def modules_of(*modules: str) -> frozenset[str]:
    """The modules and every module of ours that they import.

    A package counts where a name is taken from it, not where only a module inside it is imported: its `__init__` may
    list all of its modules, and importing one of ours has no effect.
    """
    reached: set[str] = set()
    waiting = [_module_in(module) for module in modules]
    while waiting:
        name = waiting.pop()
        if name and name not in reached:
            reached.add(name)
            waiting += [_module_in(imported) for imported in _parsed(name).imports]
    return frozenset(reached)


def _module_in(dotted: str) -> str | None:
    """`a.b` of "a.b" and of "a.b.NAME"; None where neither is a module of ours."""
    return next((name for name in (dotted, dotted.rpartition(".")[0]) if name and _file_of(name) is not None), None)


@cache
def _file_of(name: str) -> Path | None:
    package, *inner = name.split(".")
    root = _folder_of(package) if package in FIRST_PARTY else None
    if root is None:
        return None
    candidates = (root.joinpath(*inner, "__init__.py"), root.joinpath(*inner).with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


@cache
def _folder_of(package: str) -> Path | None:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0]) if folders else None


@cache
def _parsed(name: str) -> _Module:
    file = _file_of(name)
    assert file is not None
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imports = tuple(dict.fromkeys(_imports(tree, package)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return _Module(ast.dump(tree), imports)


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node except those under `if TYPE_CHECKING:`."""
    yield tree
    children: Iterable[ast.AST] = ast.iter_child_nodes(tree)
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children = tree.orelse
    for child in children:
        yield from _running(child)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]


@cache
def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
