"""Files against the checksums that are pinned for them."""

from __future__ import annotations

from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError


def check(file: Path, wanted: str, pin: str) -> None:
    """Raises UserError with both sums when the file is not the one that `pin` names."""
    sha256 = artifact.sha256_of_file(file)
    if sha256 != wanted:
        raise UserError(f"{file.name} has sha256 {sha256}, but {pin} wants {wanted}: it was not used")


def from_file(file: Path) -> dict[str, str]:
    """Names of files and their sums, from a file as sha256sum writes it. Raises UserError for any other line."""
    sums: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        sha256, _, name = line.partition("  ")
        if len(sha256) != 64 or not name:
            raise UserError(f"{file}:{number}: not a line of sha256sum: {line}")
        sums[name] = sha256
    return sums


def check_folder(folder: Path, sums: dict[str, str], pin: str) -> None:
    """Raises UserError when the files of `folder` are not exactly those of `sums`."""
    names = {path.name for path in folder.iterdir()}
    for name in sorted(names | sums.keys()):
        if name not in names:
            raise UserError(f"{name} is in {pin}, but was not downloaded")
        if name not in sums:
            sha256 = artifact.sha256_of_file(folder / name)
            raise UserError(f"{name} (sha256 {sha256}) was downloaded, but is not in {pin}: it was not used")
        check(folder / name, sums[name], pin)
