"""Packages come from a mirror in a folder, through the real apt-get and dpkg-deb."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import Cache, debian
from ai102.parts.apt import Mirror, mirror_of
from tests.parts.stand_ins import SCRIPT, Recorder, debian_mirror, debian_package, part_from_debian

pytestmark = pytest.mark.skipif(
    not (shutil.which("apt-get") and shutil.which("dpkg-deb")), reason="apt-get or dpkg-deb is missing"
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return debian_package(tmp_path / "packages", "1.0-1")


@pytest.fixture
def mirror(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mirror"
    monkeypatch.setenv("AI102_DEBIAN_MIRROR", debian_mirror(folder, package, "1.0-1"))
    return folder


def message_of(sha256: str, cache: Cache, folder: Path) -> str:
    with pytest.raises(UserError) as error:
        debian.make("greet", part_from_debian(sha256), cache, folder, Recorder())
    return str(error.value)


def test_a_package_is_unpacked_and_progress_is_shown(
    mirror: Path, package: Path, cache: Cache, reporter: Recorder, tmp_path: Path
) -> None:
    part = part_from_debian(artifact.sha256_of_file(package))
    debian.make("greet", part, cache, tmp_path / "part", reporter)
    assert (tmp_path / "part/usr/bin/greet").read_text() == SCRIPT
    assert reporter.titles == ["fetching the package lists of Debian trixie", "downloading greet 1.0-1 (%)"]
    assert reporter.last == (100, 100)


def test_a_downloaded_package_needs_no_mirror(
    mirror: Path, package: Path, cache: Cache, reporter: Recorder, tmp_path: Path
) -> None:
    part = part_from_debian(artifact.sha256_of_file(package))
    debian.make("greet", part, cache, tmp_path / "part", reporter)
    shutil.rmtree(mirror)
    debian.make("greet", part, cache, tmp_path / "again", reporter)
    assert (tmp_path / "again/usr/bin/greet").is_file()


def test_a_version_that_is_gone_is_named_with_the_one_that_is_there_and_nothing_is_made(
    mirror: Path, package: Path, cache: Cache, tmp_path: Path
) -> None:
    newer = debian_package(tmp_path / "packages", "1.0-2")
    debian_mirror(mirror, newer, "1.0-2")
    message = message_of("0" * 64, cache, tmp_path / "part")
    there = f"1.0-2 (sha256 {artifact.sha256_of_file(newer)})"
    pin = "parts.greet in parts.toml pins greet 1.0-1 of Debian trixie"
    assert message == f"{pin}, which now has {there}: try that version, then write it and its sha256 there"
    assert not (tmp_path / "part").exists()


def test_a_package_of_another_checksum_is_refused_with_both_sums(
    mirror: Path, package: Path, cache: Cache, tmp_path: Path
) -> None:
    message = message_of("0" * 64, cache, tmp_path / "part")
    assert (artifact.sha256_of_file(package) in message, "0" * 64 in message) == (True, True)
    assert "\n" not in message
    assert list(cache.downloads.glob("*")) == []


def test_a_mirror_that_serves_another_file_than_its_list_says_is_refused(
    mirror: Path, package: Path, cache: Cache, tmp_path: Path
) -> None:
    sha256 = artifact.sha256_of_file(package)
    content = bytearray((mirror / package.name).read_bytes())
    content[-1] ^= 1
    (mirror / package.name).write_bytes(content)
    message = message_of(sha256, cache, tmp_path / "part")
    assert message.startswith("`apt-get download` failed: E: ")
    assert "Hash Sum mismatch" in message or "unexpected size" in message
    assert list(cache.downloads.glob("*.deb")) == []


def test_a_package_that_the_suite_lacks_is_named(mirror: Path, cache: Cache, tmp_path: Path) -> None:
    part = part_from_debian("0" * 64)
    missing = part.debian[0].model_copy(update={"package": "farewell"})
    with pytest.raises(UserError, match="which has no package farewell now"):
        debian.make("greet", part.model_copy(update={"debian": (missing,)}), cache, tmp_path / "part", Recorder())


def test_a_mirror_that_does_not_exist_is_one_line(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI102_DEBIAN_MIRROR", f"[trusted=yes] file:{tmp_path}/nowhere")
    message = message_of("0" * 64, cache, tmp_path / "part")
    assert message.startswith("`apt-get update` failed: ")
    assert "\n" not in message


def test_a_machine_without_dpkg_is_told_so(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = message_of("0" * 64, cache, tmp_path / "part")
    why = "it unpacks greet: parts of Debian need a Debian or Ubuntu machine"
    assert message == f"dpkg-deb is not on PATH, and {why}"


@pytest.mark.parametrize(
    ("variable", "mirror"),
    [
        ("file:/mirror", Mirror("file:/mirror")),
        ("[signed-by=/key.gpg] file:/mirror", Mirror("file:/mirror", "signed-by=/key.gpg")),
    ],
)
def test_the_variable_names_a_mirror_and_its_key(variable: str, mirror: Mirror) -> None:
    assert mirror_of({"AI102_DEBIAN_MIRROR": variable}) == mirror


def test_without_the_variable_the_mirror_is_the_one_of_this_machines_apt() -> None:
    policy = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN)"], capture_output=True, text=True)
    if "Debian" not in policy.stdout.splitlines():
        with pytest.raises(UserError, match="AI102_DEBIAN_MIRROR"):
            mirror_of({})
    else:
        assert "://" in mirror_of({}).uri
