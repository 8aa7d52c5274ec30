"""The distribution ai102-runtime: all of its folders, four dependencies, Python 3.10."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "tools" / "ai102_runtime"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "build" not in path.relative_to(PACKAGE).parts)
# What Python 3.10 lacks, by module.
NEWER = {
    "typing": {"Self", "LiteralString", "Never", "assert_never", "override"},
    "datetime": {"UTC"},
    "tomllib": {"*"},
}
# A program that holds a ring of keys, seals and opens, and has imported nothing but what the seal needs.
SEALING = """
import sys, time
from pathlib import Path
from ai102_runtime.seal.envelope import Key, open_request, open_response, seal_request, seal_response
from ai102_runtime.seal.keys import Keys
from ai102_runtime.seal.replay import OnThisHost
from ai102_runtime.seal.tensors import Tensor, bytes_from_tensors, tensors_from_bytes
key = Key("a", bytes(32)); ring = Keys({"a": key}, "a"); now = time.time_ns() // 1_000_000
request = seal_request(key, b"hello", "m", now)
opened = open_request(ring, request.envelope, "m", OnThisHost(Path("seen.db")), now)
answer = seal_response(ring, opened.head, bytes_from_tensors([Tensor("a", "UINT8", (5,), opened.data)]), now)
print(tensors_from_bytes(open_response(key, request.head, answer, now))[0].data)
print(sorted({name.split(".")[0] for name in sys.modules} & {"ai102", "numpy", "pydantic", "typer", "onnxruntime"}))
"""


def test_every_folder_with_code_is_in_the_distribution() -> None:
    folders = {".".join(("ai102_runtime", *file.parent.relative_to(PACKAGE).parts)) for file in FILES}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders


def test_both_distributions_have_one_version_and_the_root_pins_within_the_ranges_of_the_runtime() -> None:
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = dict(dependency.split("==") for dependency in root["dependencies"] if "[" not in dependency)
    ranges = dict(dependency.split(">=") for dependency in PROJECT["project"]["dependencies"])
    assert root["version"] == PROJECT["project"]["version"] == pins["ai102-runtime"]
    assert set(ranges) == {"onnxruntime", "pillow", "tokenizers", "cryptography"}
    (extra,) = PROJECT["project"]["optional-dependencies"]["openvino"]
    (pin,) = root["optional-dependencies"]["openvino"]
    ranges |= [extra.split(">=")]
    pins |= [pin.split("==")]
    for name, lowest in ranges.items():
        assert numbers(pins[name]) >= numbers(lowest), name


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_python_3_10_can_read_and_import_it(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 10))
    names = [
        (node.module, name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in NEWER
        for name in node.names
    ]
    names += [(name.name, "*") for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert [name for module, name in names if name in NEWER.get(str(module), ())] == []
    assert not any(isinstance(node, ast.TryStar) for node in ast.walk(tree))


def test_a_caller_that_seals_needs_cryptography_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEALING], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.splitlines(), done.stderr) == (["b'hello'", "[]"], "")
