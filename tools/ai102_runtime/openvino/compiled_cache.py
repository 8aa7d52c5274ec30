"""Compiled models on disk, so that a second start does not compile again: at most a gigabyte, the oldest go first."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ai102_runtime.engine.record import RECORD
from ai102_runtime.seal.memory import IN_MEMORY, filesystem_holding
from ai102_runtime.seal.private import NotPrivateError, private_folder

MOST_BYTES = 1 << 30
MANIFEST = ".made.json"


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """A folder of this user alone: what lies there is run. None where there is no place for one."""
    # The temporary folder is no place: in a container it is memory, and gone at the next start.
    home = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "")) / ".cache")
    if not home.is_absolute():
        return None
    try:
        private_folder(home / "ai102")
        return private_folder(home / "ai102" / "openvino")
    except (OSError, NotPrivateError):
        return None


def may_hold(folder: Path, path: Path) -> bool:
    """Not if the model file lies in memory and `folder` on a disk: what was decrypted there must not leave it."""
    return filesystem_holding(path) not in IN_MEMORY or filesystem_holding(folder) in IN_MEMORY


def key_from(path: Path, *others: str) -> str:
    """Of all files beside the model file, by name and content, and of what else decides how it is compiled.

    Any of them may hold weights, but for other ONNX files and what the build wrote about them. So copies of one file
    have one key.
    """
    digest = hashlib.sha256("\0".join(others).encode())
    folder = path if path.is_dir() else path.parent
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        is_other = file != path and file.suffix == ".onnx" and not path.is_dir()
        if is_other or file.name.endswith((MANIFEST, RECORD)):
            continue
        digest.update(f"\0{file.relative_to(folder)}\0".encode(errors="surrogateescape"))
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def entry(folder: Path, key: str) -> Path | None:
    """The folder of that key, marked as used now."""
    if not (folder / key).is_dir():
        return None
    try:
        os.utime(folder / key)
    except OSError:
        return None  # removed meanwhile, by the start of another model
    return folder / key


def put(folder: Path, key: str, write: Callable[[Path], None]) -> None:
    """Write a folder of that key whole or not at all, and remove the oldest beyond the limit. Raises OSError."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder))
    try:
        write(unfinished)
        for file in unfinished.iterdir():
            _to_disk(file)
        if not (folder / key).exists():
            unfinished.rename(folder / key)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _remove_oldest(folder, key)


def _to_disk(file: Path) -> None:
    """Else the name may outlive a loss of power, and the content not."""
    with file.open("rb") as content:
        os.fsync(content.fileno())


def discard(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)


def _remove_oldest(folder: Path, newest: str) -> None:
    entries = sorted((one for one in folder.iterdir() if one.name != newest), key=_last_use, reverse=True)
    total = _size(folder / newest)
    for one in entries:
        total += _size(one)
        if total > MOST_BYTES:
            discard(one)


def _last_use(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(place: Path) -> int:
    try:
        return sum(file.stat().st_size for file in place.iterdir())
    except FileNotFoundError:
        return 0
