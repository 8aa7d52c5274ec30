"""Jars are taken only when they are exactly those of sha256sums."""

import hashlib
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import Cache, Parts, checksum
from ai102.parts.build import build
from ai102.parts.table import Part
from tests.parts.stand_ins import Recorder

ONE = hashlib.sha256(b"one").hexdigest()
TWO = hashlib.sha256(b"two").hexdigest()
PART = Part.model_validate(
    {"version": "1.0", "needed_for": ["logs"], "programs": {"a": "bin/a"}, "maven": {"artifact": "a"}}
)
CASES = {
    "another content": ({"a.jar": b"two"}, f"a.jar has sha256 {TWO}, but the pin wants {ONE}: it was not used"),
    "one too few": ({}, "a.jar is in the pin, but was not downloaded"),
    "one too many": (
        {"a.jar": b"one", "b.jar": b"two"},
        f"b.jar (sha256 {TWO}) was downloaded, but is not in the pin: it was not used",
    ),
}


@pytest.mark.parametrize(("files", "message"), CASES.values(), ids=CASES)
def test_jars_that_are_not_those_of_the_sums_are_refused(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        checksum.check_folder(tmp_path, {"a.jar": ONE}, "the pin")
    assert str(error.value) == message


def test_the_jars_of_the_sums_are_taken(tmp_path: Path) -> None:
    (tmp_path / "a.jar").write_bytes(b"one")
    checksum.check_folder(tmp_path, {"a.jar": ONE}, "the pin")


def test_a_line_that_is_no_sum_is_named(tmp_path: Path) -> None:
    file = tmp_path / "sha256sums"
    file.write_text(f"{ONE}  a.jar\nbroken\n")
    with pytest.raises(UserError, match="sha256sums:2: not a line of sha256sum: broken"):
        checksum.from_file(file)


def write_sources(cache: Cache, jar: str) -> None:
    (cache.sources / "a").mkdir(parents=True)
    (cache.sources / "a/sha256sums").write_text(f"{ONE}  {jar}\n")


def test_a_version_without_a_sum_is_refused(cache: Cache) -> None:
    write_sources(cache, "a-2.0.jar")
    with pytest.raises(UserError, match=r"parts\.a in parts\.toml is 1\.0, but .*/a/sha256sums has no a-1\.0\*\.jar"):
        build(Parts(parts={"a": PART}), ["a"], cache, Recorder())


def test_a_machine_without_maven_is_told_so(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sources(cache, "a-1.0.jar")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as error:
        build(Parts(parts={"a": PART}), ["a"], cache, Recorder())
    assert str(error.value) == "a: mvn is not on PATH, and it fetches the jars of a: apt-get install maven"
