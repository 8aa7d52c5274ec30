"""Small local sources at the outermost edge: a mirror of Debian in a folder, a folder of wheels."""

import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai102 import artifact
from ai102.parts.table import Part
from ai102.progress import Progress

SCRIPT = "#!/bin/sh\necho greet 1.0\n"


class Recorder:
    """A Reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.lines: list[str] = []
        self.last: tuple[int, int] | None = None

    @contextmanager
    def step(self, title: str) -> Iterator[Progress]:
        self.titles.append(title)
        yield self._progress

    def say(self, line: str) -> None:
        self.lines.append(line)

    def _progress(self, done: int, total: int) -> None:
        self.last = (done, total)


def debian_package(folder: Path, version: str) -> Path:
    """A package `greet` with one program."""
    tree = folder / f"tree-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/greet").write_text(SCRIPT)
    (tree / "usr/bin/greet").chmod(0o755)
    control = f"Package: greet\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: b\n"
    (tree / "DEBIAN/control").write_text(control)
    file = folder / f"greet_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, file], check=True, capture_output=True)
    return file


def debian_mirror(folder: Path, package: Path, version: str) -> str:
    """A mirror whose suite trixie has this one package; what AI102_DEBIAN_MIRROR is set to."""
    binary = folder / "dists/trixie/main/binary-all"
    binary.mkdir(parents=True, exist_ok=True)
    (folder / package.name).write_bytes(package.read_bytes())
    stanza = {
        "Package": "greet",
        "Version": version,
        "Architecture": "all",
        "Maintainer": "a <a@example.org>",
        "Filename": package.name,
        "Size": package.stat().st_size,
        "SHA256": artifact.sha256_of_file(package),
        "Description": "b",
    }
    packages = "".join(f"{key}: {value}\n" for key, value in stanza.items()) + "\n"
    (binary / "Packages").write_text(packages)
    listed = [f" {hashlib.sha256(packages.encode()).hexdigest()} {len(packages)} main/binary-all/Packages"]
    release = ["Origin: Debian", "Suite: trixie", "Codename: trixie", "Architectures: all amd64 arm64"]
    release += ["No-Support-for-Architecture-all: Packages", "Components: main", "SHA256:", *listed]
    (folder / "dists/trixie/Release").write_text("\n".join(release) + "\n")
    return f"[trusted=yes arch=all] file:{folder}"


def wheel(folder: Path, version: str = "1.0") -> Path:
    """The wheel of a distribution greet-bin with one script."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"greet_bin-{version}-py3-none-any.whl"
    info = f"greet_bin-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"greet_bin-{version}.data/scripts/greet", SCRIPT)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greet-bin\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return file


def part_from_wheel(sha256: str, **changes: object) -> Part:
    table = {
        "version": "1.0",
        "needed_for": ["logs"],
        "programs": {"greet": "bin/greet"},
        "pypi": {"distribution": "greet-bin", "sha256": sha256},
    }
    return Part.model_validate(table | changes)


def part_from_debian(sha256: str, version: str = "1.0-1") -> Part:
    package = {"suite": "trixie", "package": "greet", "version": version, "sha256": sha256}
    table = {"version": "1.0", "needed_for": ["logs"], "programs": {"greet": "usr/bin/greet"}, "debian": [package]}
    return Part.model_validate(table)
