"""Imports go one way, down the table of CONTRIBUTING.md; what runs while requests flow brings no framework."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / "tools"
PACKAGE = TOOLS / "ai102"
RUNTIME = TOOLS / "ai102_runtime"
# Within the package that runs inside the server, in the same way.
RUNTIME_FLOORS = [
    ["data_types", "health", "recording", "storage"],
    ["transforms", "seal"],
    ["engine"],
    ["openvino"],
    ["onnx"],
    ["steps"],
    ["models"],
]
RUNTIME_DEPENDENCIES = {"onnxruntime", "openvino", "PIL", "tokenizers", "cryptography"}
# The cluster on this machine, in the same way; of ai102 it takes a few packages.
CLUSTER = ROOT / "k8s" / "local"
CLUSTER_FLOORS = [
    ["init", "plan", "processes", "timings", "waiting"],
    ["cgroups", "disk", "kernel", "namespaces", "pki"],
    ["api", "images", "network", "programs"],
    ["machines", "manifests"],
    ["components"],
    ["control_plane", "node", "registry"],
    ["down", "loading", "written"],
    ["addons", "faults", "status"],
    ["up"],
    ["__main__"],
]
CLUSTER_TAKES = {"artifact", "errors", "images", "parts"}
FRAMEWORKS = {"torch", "onnx", "onnxscript", "tensorrt", "transformers", "sklearn"}
MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py", PACKAGE / "__main__.py"})
WHILE_REQUESTS_FLOW = [
    file for package in ("client", "serve", "contract", "seal", "api") for file in (PACKAGE / package).rglob("*.py")
] + [*RUNTIME.rglob("*.py"), *(ROOT / "model_repository").glob("*/*/*.py")]


def floors() -> list[list[str]]:
    """The packages of each floor, the lowest first, as the table in CONTRIBUTING.md has them."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert [int(number) for number, _ in rows] == list(range(len(rows)))
    return [re.findall(r"`(\w+)/?`", cell) for _, cell in rows]


FLOOR_OF = {package: number for number, packages in enumerate(floors()) for package in packages}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def package_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def identifier(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", MODULES, ids=identifier)
def test_a_package_imports_only_from_lower_floors(file: Path) -> None:
    package = package_of(file)
    others = {name.split(".")[1] for name in imports(file) if name.startswith("ai102.")} - {package}
    assert {name for name in others if FLOOR_OF[name] >= FLOOR_OF[package]} == set()


def test_the_table_names_every_package() -> None:
    assert {package_of(file) for file in MODULES} | {"ai102_runtime"} == set(FLOOR_OF)


def test_the_top_of_the_package_is_rooms_and_few_modules() -> None:
    entries = [entry for entry in PACKAGE.iterdir() if entry.name != "__pycache__"]
    assert len([entry for entry in entries if entry.is_file()]) <= 8


def test_no_three_modules_of_a_folder_share_a_prefix() -> None:
    for folder in {file.parent for file in MODULES}:
        names = [file.stem for file in folder.glob("*.py")] + [file.stem for file in folder.glob("*.lua")]
        prefixes = [name.split("_")[0] for name in names if "_" in name.strip("_")]
        assert {prefix for prefix in prefixes if prefixes.count(prefix) > 2} == set(), folder


def test_no_module_imports_one_that_imports_it() -> None:
    """Late imports count: they hide a circle, they do not break it."""
    known = {
        ".".join(file.relative_to(TOOLS).with_suffix("").parts).removesuffix(".__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    arrows = {
        name: {target for target in (_module(taken, known) for taken in imports(file)) if target not in ("", name)}
        for name, file in known.items()
    }
    done: set[str] = set()
    while ready := [name for name, targets in arrows.items() if name not in done and targets <= done]:
        done.update(ready)
    assert sorted(set(arrows) - done) == []


def _module(name: str, known: dict[str, Path]) -> str:
    """The module of ours that an imported name lies in, or is; empty for others'."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("file", WHILE_REQUESTS_FLOW, ids=identifier)
def test_what_runs_while_requests_flow_imports_no_framework(file: Path) -> None:
    assert {name.split(".")[0] for name in imports(file)} & FRAMEWORKS == set()


@pytest.mark.parametrize("module", ["ai102.client", "ai102.serve.server", "ai102.client.ask", "ai102.cli.main"])
def test_importing_brings_no_framework(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({FRAMEWORKS!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("file", sorted(RUNTIME.rglob("*.py")), ids=identifier)
def test_the_runtime_imports_only_what_it_declares_and_nothing_of_ai102(file: Path) -> None:
    known = {"ai102_runtime", "numpy", "triton_python_backend_utils", *RUNTIME_DEPENDENCIES}
    foreign = {name.split(".")[0] for name in imports(file)} - sys.stdlib_module_names
    assert foreign - known == set()


@pytest.mark.parametrize("file", sorted(RUNTIME.glob("*/*.py")), ids=identifier)
def test_a_part_of_the_runtime_imports_only_from_lower_floors(file: Path) -> None:
    floor_of = {part: number for number, parts in enumerate(RUNTIME_FLOORS) for part in parts}
    part = file.parent.name
    imported = {name.split(".")[1] for name in imports(file) if name.startswith("ai102_runtime.")} - {part}
    assert {name for name in imported if floor_of[name] >= floor_of[part]} == set()


@pytest.mark.parametrize("file", sorted(CLUSTER.glob("*.py")), ids=identifier)
def test_a_module_of_the_local_cluster_imports_only_from_lower_floors(file: Path) -> None:
    floor_of = {module: number for number, modules in enumerate(CLUSTER_FLOORS) for module in modules}
    names = list(imports(file))
    own = {name.split(".")[2] for name in names if name.startswith("k8s.local.")}
    assert {name for name in own if floor_of[name] >= floor_of.get(file.stem, 0)} == set()
    assert {name.split(".")[1] for name in names if name.startswith("ai102.")} - CLUSTER_TAKES == set()


@pytest.mark.parametrize("file", sorted((ROOT / "model_repository").glob("*/*/*.py")), ids=identifier)
def test_a_python_model_imports_the_runtime_alone(file: Path) -> None:
    assert {name.split(".")[0] for name in imports(file)} == {"ai102_runtime"}
