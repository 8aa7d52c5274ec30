"""Parts from Debian's packages: downloaded, checked and unpacked, never installed."""

from __future__ import annotations

import os
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from ai102.parts import checksum
from ai102.parts.apt import Suite, mirror_of
from ai102.parts.cache import Cache, on_path
from ai102.parts.commands import run
from ai102.parts.lock import only_one
from ai102.parts.table import Package, Part
from ai102.progress import Reporter


def make(name: str, part: Part, cache: Cache, folder: Path, reporter: Reporter) -> None:
    """Unpack the part's packages into `folder`. Raises UserError."""
    unpack = on_path("dpkg-deb", f"it unpacks {name}")
    for package in part.debian:
        file = cache.downloads / f"{package.package}_{package.version}_{package.sha256[:12]}.deb"
        if not file.is_file():
            download(name, package, file, cache, reporter)
        checksum.check(file, package.sha256, pin_of(name))
        run([unpack, "-x", file, folder], cache.log(name))


def download(name: str, package: Package, file: Path, cache: Cache, reporter: Reporter) -> None:
    """Write `file`, the package with the pinned version and checksum. Raises UserError when the suite has another."""
    folder = cache.root / "apt" / package.suite
    with only_one(folder.with_suffix(".lock"), lambda: reporter.say(f"waiting for another process in {folder}")):
        suite = Suite(folder, package.suite, mirror_of(os.environ), cache.log(name))
        with reporter.step(f"fetching the package lists of Debian {package.suite}"):
            suite.update()
        _check_pin(name, package, suite.sums(package.package))
        with artifact.temporary_folder(cache.downloads) as temporary:
            downloaded = suite.download(package.package, package.version, temporary, reporter)
            checksum.check(downloaded, package.sha256, pin_of(name))
            downloaded.replace(file)


def pin_of(name: str) -> str:
    return f"parts.{name} in parts.toml"


def _check_pin(name: str, package: Package, sums: dict[str, str]) -> None:
    pinned = f"{pin_of(name)} pins {package.package} {package.version} of Debian {package.suite}"
    if not sums:
        raise UserError(f"{pinned}, which has no package {package.package} now: name another source")
    if package.version not in sums:
        there = ", ".join(f"{version} (sha256 {sha256})" for version, sha256 in sums.items())
        raise UserError(f"{pinned}, which now has {there}: try that version, then write it and its sha256 there")
    if sums[package.version] != package.sha256:
        raise UserError(
            f"{pinned} with sha256 {package.sha256}, but the suite's has {sums[package.version]}: find out why"
        )
