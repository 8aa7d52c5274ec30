"""Imports go one way, and nothing that runs while requests flow brings a framework along."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tools" / "ai102"
# A room may import from the lines above its own; two rooms of one line do not know each other.
LINES = [
    ["errors", "progress", "cpu"],
    ["artifact", "code_hash", "models_toml", "python_docs", "stopwatch"],
    ["builds"],
    ["spec", "transforms", "sample_sets"],
    ["seal", "masking"],
    ["client", "samples", "serve", "repository", "graph"],
    ["live", "api"],
    ["gateway"],
    ["examples", "auth"],
    ["networks", "calibrate", "warmup"],
    ["export", "engine", "quantize", "workspace"],
    ["judge", "in_one_process"],
    ["bench", "gate"],
    ["recipes"],
    ["build"],
    ["road", "infer"],
    ["plans", "verify", "add"],
    ["inventory"],
    ["console"],
    ["demo", "report", "tune", "explain"],
    ["cli_engine"],
    ["cli_lint", "cli_add", "cli_builds", "cli_tune", "cli_gateway", "cli_auth", "cli_api", "cli_seal", "cli_masking"],
    ["cli"],
    ["__main__"],
]
LINE_OF = {room: number for number, rooms in enumerate(LINES) for room in rooms}
FRAMEWORKS = {"torch", "onnx", "onnxscript", "tensorrt", "transformers", "sklearn"}
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})
WHILE_REQUESTS_FLOW = [
    *(PACKAGE / "client").rglob("*.py"),
    *(PACKAGE / "serve").rglob("*.py"),
    *(PACKAGE / "transforms").rglob("*.py"),
    *(PACKAGE / "spec").rglob("*.py"),
    *(PACKAGE / "seal").rglob("*.py"),
    *(PACKAGE / "api").rglob("*.py"),
    *(ROOT / "model_repository").glob("*/*/*.py"),
]


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "ai102":
                yield from (f"ai102.{name.name}" for name in node.names)
            else:
                yield node.module


def identifier(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", MODULES, ids=identifier)
def test_a_room_imports_only_from_the_lines_above_it(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    taken = {name.split(".")[1] for name in imports(file) if name.startswith("ai102.")} - {room}
    assert {name for name in taken if LINE_OF[name] >= LINE_OF[room]} == set()


@pytest.mark.parametrize("file", WHILE_REQUESTS_FLOW, ids=identifier)
def test_what_runs_while_requests_flow_imports_no_framework(file: Path) -> None:
    assert {name.split(".")[0] for name in imports(file)} & FRAMEWORKS == set()


@pytest.mark.parametrize("module", ["ai102.client", "ai102.serve.server", "ai102.client.ask", "ai102.cli.main"])
def test_importing_brings_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({FRAMEWORKS!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("file", sorted((ROOT / "model_repository").glob("*/*/*.py")), ids=identifier)
def test_a_python_model_needs_nothing_of_this_package(file: Path) -> None:
    assert [name for name in imports(file) if name.startswith("ai102")] == []
