"""Go builds a main of ours, and its own words about a wrong sum become one line."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import Cache, Parts, go
from ai102.parts.build import build, fetch
from ai102.parts.table import GoModule, Part
from tests.parts.stand_ins import Recorder

MODULE = "example.invalid/greeting"
MAIN = f'package main\n\nimport "{MODULE}"\n\nfunc main() {{ println(greeting.Text) }}\n'
MISMATCH = """\
verifying example.invalid/greeting@v1.0.0: checksum mismatch
\tdownloaded: h1:AAAA=
\tgo.sum:     h1:BBBB=

SECURITY ERROR
This download does NOT match an earlier download recorded in go.sum.
"""
PART = Part.model_validate(
    {
        "version": "1.0.0",
        "needed_for": ["logs"],
        "build_s": 5,
        "programs": {"greet": "bin/greet"},
        "go": {"module": MODULE, "packages": ["."]},
    }
)


def test_a_wrong_sum_is_one_line_with_both_sums() -> None:
    line = "example.invalid/greeting@v1.0.0 has the sum h1:AAAA=, but go.sum wants h1:BBBB=: it was not used"
    assert go.reason(MISMATCH.splitlines()) == line


def test_any_other_error_is_its_last_line() -> None:
    assert go.reason(["go: one", "go: two"]) == "go: two"


def test_a_machine_without_go_is_told_so(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as error:
        fetch(Parts(parts={"greet": PART}), ["greet"], cache, Recorder())
    assert str(error.value) == "greet: go is not on PATH, and it builds greet: install Go 1.26 or newer"


@pytest.mark.parametrize("required", ["1.1.0", None])
def test_a_version_that_go_mod_does_not_require_is_refused(required: str | None, tmp_path: Path) -> None:
    file = tmp_path / "go.mod"
    file.write_text("module example.invalid/greet\n" + (f"require {MODULE} v{required}\n" if required else ""))
    with pytest.raises(UserError, match=f"but {file} requires {required or 'no version'} of {MODULE}: write the same"):
        go.check_version("greet", PART, file)


@pytest.fixture
def sources(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A main of ours, and a module proxy in a folder that has the one module it imports."""
    if shutil.which("go") is None:
        pytest.skip("go is missing: install Go 1.26 or newer")
    proxy = tmp_path / "proxy" / MODULE / "@v"
    proxy.mkdir(parents=True)
    (proxy / "v1.0.0.info").write_text('{"Version": "v1.0.0"}')
    (proxy / "v1.0.0.mod").write_text(f"module {MODULE}\n")
    with zipfile.ZipFile(proxy / "v1.0.0.zip", "w") as archive:
        archive.writestr(f"{MODULE}@v1.0.0/go.mod", f"module {MODULE}\n")
        archive.writestr(f"{MODULE}@v1.0.0/greeting.go", 'package greeting\n\nvar Text = "greet 1.0.0"\n')
        archive.writestr(f"{MODULE}@v1.0.0/loud.go", "//go:build loud\n\npackage greeting\n\nvar Loud = 1\n")
        archive.writestr(f"{MODULE}@v1.0.0/config/crd/greet.yaml", "kind: Greeting\n")
    for name, value in {
        "GOPROXY": f"file://{tmp_path}/proxy",
        "GONOSUMDB": MODULE,
        "GOMODCACHE": f"{tmp_path}/modules",
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
    }.items():
        monkeypatch.setenv(name, value)
    folder = cache.sources / "greet"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(f"module example.invalid/greet\n\ngo 1.21\n\nrequire {MODULE} v1.0.0\n")
    # Go keeps what it compiled; another text each time is compiled each time.
    (folder / "main.go").write_text(f"// {os.urandom(8).hex()}\n{MAIN}")
    subprocess.run(["go", "mod", "tidy"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_a_main_of_ours_is_built_without_paths_of_this_machine(sources: Path, cache: Cache, reporter: Recorder) -> None:
    parts = Parts(parts={"greet": PART})
    fetch(parts, ["greet"], cache, reporter)
    assert cache.manifest("greet", PART) is None
    build(parts, ["greet"], cache, reporter)
    program = cache.folder("greet", PART) / "bin/greet"
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    assert done.stderr == "greet 1.0.0\n"
    assert str(sources).encode() not in program.read_bytes()
    assert reporter.titles[-1] == "building greet (packages)"
    assert reporter.last is not None
    assert 0 < reporter.last[0] <= reporter.last[1]


@pytest.mark.slow
def test_tags_variables_names_and_files_of_the_module_are_those_of_the_table(sources: Path, cache: Cache) -> None:
    (sources / "tagged.go").write_text(f'package main\n\nimport "{MODULE}"\n\nvar _ = greeting.Loud\n')
    table = {
        "module": MODULE,
        "packages": ["."],
        "tags": ["loud"],
        "variables": {f"{MODULE}.Text": "v{version}"},
        "links": ["hello", "wave"],
    }
    part = PART.model_copy(
        update={
            "go": GoModule.model_validate(table),
            "files": {"crds": "module/config"},
            "programs": {"hello": "bin/hello"},
        }
    )
    build(Parts(parts={"greet": part}), ["greet"], cache, Recorder())
    folder = cache.folder("greet", part)
    done = subprocess.run([folder / "bin/hello"], capture_output=True, text=True, check=True)
    assert done.stderr == "v1.0.0\n"
    assert {path.name: path.is_symlink() for path in (folder / "bin").iterdir()} == {
        "greet": False,
        "hello": True,
        "wave": True,
    }
    copied = folder / "module/config/crd/greet.yaml"
    assert (copied.read_text(), copied.stat().st_mode & 0o200) == ("kind: Greeting\n", 0o200)


@pytest.mark.slow
def test_a_part_of_files_alone_is_not_compiled(sources: Path, cache: Cache) -> None:
    part = Part.model_validate(
        {
            "version": "1.0.0",
            "needed_for": ["logs"],
            "files": {"crds": "module/config"},
            "go": {"module": MODULE},
        }
    )
    reporter = Recorder()
    build(Parts(parts={"greet": part}), ["greet"], cache, reporter)
    assert [path.name for path in cache.folder("greet", part).iterdir() if path.is_dir()] == ["module"]
    assert reporter.titles == ["downloading the modules of greet"]


@pytest.mark.slow
def test_a_file_that_the_module_lacks_is_named(sources: Path, cache: Cache) -> None:
    part = PART.model_copy(update={"files": {"crds": "module/crds"}})
    with pytest.raises(UserError) as error:
        build(Parts(parts={"greet": part}), ["greet"], cache, Recorder())
    assert str(error.value) == f"greet: parts.greet.files in parts.toml: {MODULE} 1.0.0 has no crds"


@pytest.mark.slow
def test_a_main_of_ours_may_need_no_module(sources: Path, cache: Cache) -> None:
    (sources / "go.mod").write_text("module example.invalid/greet\n\ngo 1.21\n")
    (sources / "go.sum").unlink()
    (sources / "main.go").write_text('package main\n\nvar version = ""\n\nfunc main() { println(version) }\n')
    table = {"packages": ["."], "variables": {"main.version": "{version}"}}
    part = PART.model_copy(update={"go": GoModule.model_validate(table)})
    build(Parts(parts={"greet": part}), ["greet"], cache, Recorder())
    done = subprocess.run([cache.folder("greet", part) / "bin/greet"], capture_output=True, text=True, check=True)
    assert done.stderr == "1.0.0\n"


@pytest.mark.slow
def test_a_module_that_is_not_the_one_of_go_sum_is_refused_with_both_sums(sources: Path, cache: Cache) -> None:
    text = (sources / "go.sum").read_text()
    known, _, sum_of_zip = text.splitlines()[0].rpartition(" h1:")
    wrong = "h1:" + sum_of_zip[::-1].lstrip("=").ljust(len(sum_of_zip), "=")
    (sources / "go.sum").write_text(text.replace(f"h1:{sum_of_zip}", wrong))
    with pytest.raises(UserError) as error:
        build(Parts(parts={"greet": PART}), ["greet"], cache, Recorder())
    assert known == f"{MODULE} v1.0.0"
    assert f"{MODULE}@v1.0.0 has the sum h1:{sum_of_zip}, but go.sum wants {wrong}: it was not used" in str(error.value)
    assert "\n" not in str(error.value)
    assert not cache.folder("greet", PART).exists()
