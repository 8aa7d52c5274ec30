"""Which tritonserver is found, and what its own Python is given."""

import os
import sys
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.serve import installation
from ai102.serve.installation import (
    ALLOCATORS,
    Installation,
    allocator,
    installed_tritonserver,
    libpython_folder,
    server_environment,
)

SONAME = "libpython3.11.so.1.0"


def program(path: Path, content: bytes = b"\x7fELF rest", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.fixture
def pip_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package like pytriton, whose import would fail."""
    package = tmp_path / "site" / "fakepytriton"
    program(package / "tritonserver" / "bin" / "tritonserver")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return package.name


def test_a_server_on_path_comes_first_then_nvidias_then_that_of_pip(tmp_path: Path, pip_package: str) -> None:
    found = []
    nvidia = tmp_path / "nvidia"
    for place in (None, nvidia / "bin", tmp_path / "path" / "bin"):
        if place is not None:
            program(place / "tritonserver")
        found.append(installed_tritonserver(str(tmp_path / "path" / "bin"), nvidia, pip_package))
    pip_root = tmp_path / "site" / pip_package / "tritonserver"
    assert found == [
        Installation(pip_root / "bin" / "tritonserver", pip_root / "backends", is_from_pip=True),
        Installation(nvidia / "bin" / "tritonserver", nvidia / "backends", is_from_pip=False),
        Installation(tmp_path / "path" / "bin" / "tritonserver", nvidia / "backends", is_from_pip=False),
    ]


@pytest.mark.parametrize(("content", "mode"), [(b"#!/usr/bin/python\n", 0o755), (b"", 0o755)])
def test_a_script_of_that_name_is_passed_over(tmp_path: Path, pip_package: str, content: bytes, mode: int) -> None:
    program(tmp_path / "bin" / "tritonserver", content, mode)
    search_path = os.pathsep.join(["", str(tmp_path / "absent"), str(tmp_path / "bin")])
    assert installed_tritonserver(search_path, tmp_path / "absent", pip_package).is_from_pip


def test_no_server_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tritonserver on PATH.*pip install nvidia-pytriton==0\.7\.0"):
        installed_tritonserver("", tmp_path, "no_such_package_anywhere")


@pytest.mark.parametrize(
    ("loader_has_it", "python_has_it", "wanted"), [(True, True, None), (True, False, None), (False, True, "python")]
)
def test_libpython_is_added_only_where_the_loader_lacks_it(
    tmp_path: Path, loader_has_it: bool, python_has_it: bool, wanted: str | None
) -> None:
    for name, has_it in (("loader", loader_has_it), ("python", python_has_it)):
        (tmp_path / name).mkdir()
        if has_it:
            (tmp_path / name / SONAME).touch()
    found = libpython_folder(SONAME, [tmp_path / "absent", tmp_path / "loader"], [tmp_path / "python"])
    assert found == (wanted and tmp_path / wanted)


def test_a_missing_libpython_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"apt-get install libpython3\.11"):
        libpython_folder(SONAME, [tmp_path], [tmp_path])


def test_the_pip_server_finds_this_python_first(tmp_path: Path) -> None:
    library_path = tmp_path / f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    library_path.touch()
    given = {"PATH": "/usr/bin", "LD_LIBRARY_PATH": str(tmp_path), "KEPT": "1", "LD_PRELOAD": ""}
    pip = Installation(tmp_path / "bin" / "tritonserver", tmp_path / "backends", is_from_pip=True)
    nvidia = Installation(tmp_path / "bin" / "tritonserver", tmp_path / "backends", is_from_pip=False)
    scripts = str(Path(sys.executable).parent)
    assert [server_environment(server, given) for server in (pip, nvidia)] == [
        given | {"PATH": os.pathsep.join([scripts, "/usr/bin"])},
        given,
    ]


def test_an_allocator_that_is_installed_is_preloaded_unless_the_user_says_what_is(tmp_path: Path) -> None:
    (tmp_path / ALLOCATORS[0]).touch()
    given = {"LD_LIBRARY_PATH": str(tmp_path)}
    assert allocator(given) == {"LD_PRELOAD": ALLOCATORS[0]}
    assert [allocator(given | {"LD_PRELOAD": text}) for text in ("", "libmine.so")] == [{}, {}]


def test_without_an_allocator_nothing_is_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_loader_folders", lambda soname, library_path: [])
    assert allocator({}) == {}
