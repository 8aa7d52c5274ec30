"""Build products: written atomically, and not rebuilt while their inputs stay the same."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ai102.errors import UserError

# Writes a whole file to the path it is given and may return facts to keep beside it.
Write = Callable[[Path], Mapping[str, object] | None]

FULL_BELOW_BYTES = 1 << 20


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_modules(*modules: str) -> str:
    """A hash of this package's modules, named by path inside it: the output of a step depends on its code."""
    package = Path(__file__).parent
    return sha256_of_text("".join((package / module).read_text(encoding="utf-8") for module in modules))


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
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder / path.name
        (folder / path.name).replace(path)
    except Exception as err:
        # Every library reports a full disk in its own way, and none of them names the file.
        if not isinstance(err, UserError) and shutil.disk_usage(path.parent).free < FULL_BELOW_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from err
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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

    `made_from` gives the hash or version of every input by name. What `write` returns is stored with the hashes;
    `facts_of` reads it back. Returns whether the file was built now.
    """
    manifest_file = _manifest_file(path)
    manifest = _read(manifest_file)
    is_same = manifest is not None and manifest["made_from"] == dict(made_from)
    if manifest and is_same and path.is_file() and manifest["sha256"] == sha256_of_file(path):
        return False
    with replacing(path) as temporary:
        facts = write(temporary) or {}
        new_manifest = {"made_from": dict(made_from), "sha256": sha256_of_file(temporary), "facts": facts}
        manifest_file.unlink(missing_ok=True)  # between the two renames there is no manifest, never a wrong one
    write_text(manifest_file, json.dumps(new_manifest, indent=1) + "\n")
    return True


def facts_of(path: Path) -> dict[str, object]:
    """What the step that built `path` reported. Raises UserError when `path` was not built by `make`."""
    manifest = _read(_manifest_file(path))
    if manifest is None:
        raise UserError(f"{path}: not built yet; run `make engine`")
    facts: dict[str, object] = manifest["facts"]
    return facts


def inputs_of(path: Path) -> dict[str, str]:
    """The `made_from` that `make` got for `path`; empty when `path` was not built by `make`."""
    manifest = _read(_manifest_file(path))
    return dict(manifest["made_from"]) if manifest else {}


def _read(manifest_file: Path) -> dict[str, Any] | None:
    """The manifest; None where there is none, or where it is truncated."""
    try:
        manifest: dict[str, Any] = json.loads(manifest_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return manifest


def _manifest_file(path: Path) -> Path:
    return path.with_name(path.name + ".made.json")
