"""Wheels come from a folder, through the real pip."""

from pathlib import Path

import pytest

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import Cache, pypi
from tests.parts.stand_ins import SCRIPT, Recorder, part_from_wheel, wheel


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return wheel(tmp_path / "wheels")


def test_the_script_of_a_wheel_can_be_run_and_the_wheel_is_kept(
    file: Path, cache: Cache, reporter: Recorder, tmp_path: Path
) -> None:
    part = part_from_wheel(artifact.sha256_of_file(file))
    pypi.make("greet", part, cache, tmp_path / "part", reporter)
    program = tmp_path / "part/bin/greet"
    assert (program.read_text(), program.stat().st_mode & 0o777) == (SCRIPT, 0o755)
    assert (tmp_path / "part/lib/greet_bin-1.0.dist-info/METADATA").is_file()
    file.unlink()
    pypi.make("greet", part, cache, tmp_path / "again", reporter)
    assert reporter.titles == ["downloading greet-bin==1.0"]


def test_a_program_that_is_no_script_of_the_wheel_can_be_run(file: Path, cache: Cache, tmp_path: Path) -> None:
    path = "lib/greet_bin-1.0.dist-info/METADATA"
    part = part_from_wheel(artifact.sha256_of_file(file), programs={"greet": path})
    pypi.make("greet", part, cache, tmp_path / "part", Recorder())
    assert (tmp_path / "part" / path).stat().st_mode & 0o777 == 0o755


def test_a_wheel_of_another_checksum_is_refused_with_both_sums(file: Path, cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        pypi.make("greet", part_from_wheel("0" * 64), cache, tmp_path / "part", Recorder())
    has = f"{file.name} has sha256 {artifact.sha256_of_file(file)}"
    assert str(error.value) == f"{has}, but parts.greet in parts.toml wants {'0' * 64}: it was not used"
    assert not (tmp_path / "part").exists()
    assert list(cache.downloads.glob("*")) == []


def test_a_version_that_is_not_there_is_one_line(file: Path, cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        pypi.make("greet", part_from_wheel("0" * 64, version="2.0"), cache, tmp_path / "part", Recorder())
    assert "greet-bin==2.0" in str(error.value)
    assert "\n" not in str(error.value)
