"""The code that a result depends on is the code that is really imported, wherever the package lies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102 import code_hash

MODULES = {
    "__init__.py": "",
    "step.py": '"""A step."""\nfrom typing import TYPE_CHECKING\nfrom ours import near\nfrom ours.inner import thing\n'
    "if TYPE_CHECKING:\n    from ours import only_types\ndef run():\n    import numpy\n    from ours.late import x\n",
    "near.py": "import PIL.Image\nA = 1\n",
    "late.py": "x = 1\n",
    "only_types.py": "x = 1\n",
    "apart.py": "x = 1\n",
    "inner/__init__.py": "from ours.inner.part import thing\n",
    "inner/part.py": "from . import other\nthing = 1\n",
    "inner/other.py": "x = 1\n",
    "inner/unused.py": "x = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write(tmp_path / "one" / "ours")
    monkeypatch.setattr(code_hash, "FIRST_PARTY", ("ours",))
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    forget()
    yield tmp_path / "one" / "ours"
    forget()


def write(folder: Path) -> None:
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def forget() -> None:
    for memo in (code_hash._file_of, code_hash._folder_of, code_hash._parsed):
        memo.cache_clear()


def hash_after(file: Path, text: str) -> str:
    file.write_text(text)
    forget()
    return code_hash.code_hash("ours.step")


def test_imports_are_followed_inside_functions_and_packages_but_not_those_for_types(package: Path) -> None:
    assert code_hash.modules_of("ours.step") == {
        *(f"ours.{name}" for name in ("step", "near", "late", "inner", "inner.part", "inner.other"))
    }
    assert set(code_hash.library_versions("ours.step")) == {"numpy", "pillow"}


@pytest.mark.parametrize("name", ["near.py", "late.py", "inner/other.py", "step.py"])
def test_other_code_in_any_of_them_is_another_hash(name: str, package: Path) -> None:
    before = code_hash.code_hash("ours.step")
    assert hash_after(package / name, MODULES[name] + "ADDED = 1\n") != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("near.py", '"""What it is for."""\n\nimport PIL.Image  # for images\n\nA = 1  # one\n'),
        ("apart.py", "x = 2\n"),
        ("only_types.py", "x = 2\n"),
        ("inner/unused.py", "x = 2\n"),
    ],
)
def test_words_and_code_that_is_not_imported_do_not_count(name: str, text: str, package: Path) -> None:
    before = code_hash.code_hash("ours.step")
    assert hash_after(package / name, text) == before


def test_the_place_of_the_package_does_not_count(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_hash.code_hash("ours.step")
    write(tmp_path / "two" / "ours")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "two"), *sys.path])
    forget()
    assert code_hash.code_hash("ours.step") == before


@pytest.mark.parametrize(
    ("step", "module"),
    [
        ("calibrate", "ai102.int8.ranges"),
        ("calibrate", "ai102_runtime.transforms.images"),
        ("calibrate", "ai102_runtime.transforms.texts"),
        ("quantize", "ai102.int8.score"),  # the metric
        ("quantize", "ai102_runtime.transforms.images"),
        ("quantize_for_tensorrt", "ai102.int8.score"),
        ("quantize_for_tensorrt", "ai102.int8.for_tensorrt"),
        ("export", "ai102.weights.export"),
    ],
)
def test_a_step_depends_on_the_modules_that_decide_its_result(step: str, module: str) -> None:
    assert module in code_hash.modules_of(f"ai102.build.steps.{step}")


@pytest.mark.parametrize("step", ["export", "calibrate", "quantize", "quantize_for_tensorrt"])
def test_no_step_knows_the_workspace_or_the_command_line(step: str) -> None:
    modules = code_hash.modules_of(f"ai102.build.steps.{step}")
    assert {
        name for name in modules if name.startswith(("ai102.build.workspace", "ai102.build.verbs", "ai102.cli."))
    } == set()


def test_every_library_of_the_steps_has_a_version() -> None:
    steps = [f"ai102.build.steps.{step}" for step in ("export", "calibrate", "quantize", "quantize_for_tensorrt")]
    assert [name for name, version in code_hash.library_versions(*steps).items() if not version] == []
