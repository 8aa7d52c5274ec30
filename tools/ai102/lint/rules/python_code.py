"""The part of MR3xx about the code of the Python backend."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ai102.lint.completion import MODEL_CLASS, CodeError, parsed
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model
from ai102.lint.paths import is_file

CODES: tuple[Code, ...] = (
    Code(
        "MR310",
        "error",
        "Python code that is no model",
        "The Python backend imports the file and takes its class TritonPythonModel. A file that does not parse, or "
        "that neither defines nor imports that name, is refused at load.",
    ),
)


def check(model: Model, file: str) -> Iterator[Finding]:
    for version in model.loaded_versions:
        path = model.file(version, file)
        if not is_file(path):
            continue
        where = f"{version}/{file}"
        try:
            code = parsed(path)
        except CodeError as err:
            yield model.finding("MR310", "", f"{where} does not parse: {err}", "correct it there")
            continue
        if MODEL_CLASS not in set(_names(code)):
            advice = f"write the model as class {MODEL_CLASS}"
            yield model.finding("MR310", "", f"{where} has no {MODEL_CLASS}", advice)


def _names(code: ast.Module) -> Iterator[str]:
    """What the module binds, wherever in it; a star import may bind anything."""
    for node in ast.walk(code):
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (MODEL_CLASS if name.name == "*" else (name.asname or name.name) for name in node.names)
