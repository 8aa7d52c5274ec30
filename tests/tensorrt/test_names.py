"""Every TensorRT name in the code exists in the bindings of 10.16.1 and 11.4.0."""

import ast
from collections.abc import Iterator
from pathlib import Path

CODE = sorted((Path(__file__).parents[2] / "tools" / "ai102" / "tensorrt").glob("*.py"))
IN_THE_BINDINGS = Path(__file__).with_name("names_in_the_bindings.txt")


def dotted(node: ast.AST) -> Iterator[str]:
    """The names after `trt.` or `self._trt.`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        if ast.unparse(node.value) in ("trt", "self._trt"):
            yield ".".join(reversed(parts))
        node = node.value


def test_every_name_the_code_uses_is_in_the_bindings() -> None:
    used = {name for file in CODE for node in ast.walk(ast.parse(file.read_text("utf-8"))) for name in dotted(node)}
    lines = IN_THE_BINDINGS.read_text(encoding="utf-8").splitlines()
    assert len(used) > 20
    assert used - {line for line in lines if not line.startswith("#")} == set()
