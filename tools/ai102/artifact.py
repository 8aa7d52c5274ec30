"""Build products: written atomically, and not rebuilt while their inputs stay the same."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ai102.errors import UserError

# Writes a whole file to the path it is given and may return facts to keep beside it.
Write = Callable[[Path], Mapping[str, object] | None]

FULL_BELOW_BYTES = 1 << 20
# Temporary folders are called so; Triton skips them in a model repository, since the name is no number.
TEMPORARY = ".unfinished-"


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def versions(*distributions: str) -> dict[str, str]:
    """The installed version of each distribution, by name."""
    return {distribution: version(distribution) for distribution in distributions}


def megabytes(file: Path) -> str:
    """A file's size for display."""
    return f"{file.stat().st_size / 1e6:.2f} MB"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`: renamed to `path` when the block succeeds, removed when it raises.

    Until then an existing `path` is unchanged.
    """
    try:
        with temporary_folder(path.parent) as folder:
            yield folder / path.name
            (folder / path.name).replace(path)
    except Exception as err:
        # Every library reports a full disk in its own way, and none of them names the file.
        if not isinstance(err, UserError) and shutil.disk_usage(path.parent).free < FULL_BELOW_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from err
        raise


@contextmanager
def temporary_folder(parent: Path, mode: int = 0o700) -> Iterator[Path]:
    """A new folder in `parent`, which is made where it is missing; removed at the end with all that is in it then.

    A process that is killed leaves it behind: `sweep` removes it, since its lock is free.
    """
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        folder = parent / f"{TEMPORARY}{os.urandom(6).hex()}"
        folder.mkdir(mode)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            break
        os.close(lock)  # another process swept it before it was locked
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(root: Path, places: Iterable[str]) -> None:
    """Remove the temporary folders of killed processes in `places`, glob patterns of folders below `root`.

    Those that are still in use stay.
    """
    for folder in [folder for place in places for folder in root.glob(f"{place}/{TEMPORARY}*")]:
        with suppress(OSError):  # in use, another user's, or gone with the folder around it
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def write_text(path: Path, text: str) -> None:
    """Write `path` atomically; does nothing when it already holds `text`."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write `path` atomically: the file has `mode` from the start and is synced to disk before the rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make(path: Path, made_from: Mapping[str, str], write: Write) -> bool:
    """Build `path` with `write(temporary)`, unless it was built from the same inputs and is unchanged since.

    `made_from` names every input with its hash or version. What `write` returns is kept beside the hashes in the
    file's manifest and is read back by `facts_of`. Returns whether the file was written now.
    """
    before = _manifest_of(path)
    is_same = before is not None and before["made_from"] == dict(made_from)
    if before and is_same and path.is_file() and before["sha256"] == sha256_of_file(path):
        return False
    with replacing(path) as temporary:
        facts = write(temporary) or {}
        manifest = {"made_from": dict(made_from), "sha256": sha256_of_file(temporary), "facts": facts}
        _manifest_file(path).unlink(missing_ok=True)  # between the two renames there is none, never a wrong one
    write_text(_manifest_file(path), json.dumps(manifest, indent=1) + "\n")
    return True


def remove(path: Path) -> bool:
    """Remove what `make` wrote, if it is there, and its manifest; returns whether it was there."""
    was_there = path.exists()
    for file in (path, _manifest_file(path)):
        file.unlink(missing_ok=True)
    return was_there


def facts_of(path: Path) -> dict[str, object]:
    """What the step that made `path` reported. Raises UserError when `path` was not made by `make`."""
    manifest = _manifest_of(path)
    if manifest is None:
        raise UserError(f"{path}: not built yet; run `make engine`")
    facts: dict[str, object] = manifest["facts"]
    return facts


def inputs_of(path: Path) -> dict[str, str]:
    """What `path` was made from, as `make` was given it; empty when it was not made by `make`."""
    manifest = _manifest_of(path)
    return dict(manifest["made_from"]) if manifest else {}


def sha256_of_manifest(path: Path) -> str:
    """Of all that is known about `path`: what it was made from, its content, and what its step reported."""
    return sha256_of_text(json.dumps(_manifest_of(path), sort_keys=True))


def _manifest_of(path: Path) -> dict[str, Any] | None:
    """None where there is none, or one that was cut short."""
    try:
        manifest: dict[str, Any] = json.loads(_manifest_file(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return manifest


def _manifest_file(path: Path) -> Path:
    return path.with_name(path.name + ".made.json")
