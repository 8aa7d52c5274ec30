"""Files that are made whole or not at all, and not made again while what they are made from stays the same."""

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
    """Of modules of this package, by path inside it: what a step makes changes with its code."""
    room = Path(__file__).parent
    return sha256_of_text("".join((room / module).read_text(encoding="utf-8") for module in modules))


def versions(*distributions: str) -> dict[str, str]:
    """The installed version of each distribution, by name."""
    return {distribution: version(distribution) for distribution in distributions}


def megabytes(file: Path) -> str:
    """A file's size for people."""
    return f"{file.stat().st_size / 1e6:.2f} MB"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes the name `path` if the block ends well and is removed if not.

    Until then the file of before, if any, stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder / path.name
        (folder / path.name).replace(path)
    except Exception as err:
        # Every library tells of a full disk in its own way, and none of them names the file.
        if not isinstance(err, UserError) and shutil.disk_usage(path.parent).free < FULL_BELOW_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from err
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `path` whole; does nothing when it already holds `text`."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write `path` whole, with `mode` from the start, and on the disk before it takes its name."""
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
    """Let `write(temporary)` make `path`, unless it was made from the same and is still intact.

    `made_from` names every input with its hash or version. What `write` returns is kept beside the hashes and
    is read back by `facts_of`. Returns whether the file was made now.
    """
    stamp = _stamp(path)
    told = _read(stamp)
    if told and told["made_from"] == dict(made_from) and path.is_file() and told["sha256"] == sha256_of_file(path):
        return False
    with replacing(path) as temporary:
        facts = write(temporary) or {}
        telling = {"made_from": dict(made_from), "sha256": sha256_of_file(temporary), "facts": facts}
        stamp.unlink(missing_ok=True)  # between the two renames there is no stamp, never a wrong one
    write_text(stamp, json.dumps(telling, indent=1) + "\n")
    return True


def facts_of(path: Path) -> dict[str, object]:
    """What the step that made `path` reported. Raises UserError when `path` was not made by `make`."""
    told = _read(_stamp(path))
    if told is None:
        raise UserError(f"{path}: not built yet; run `make engine`")
    facts: dict[str, object] = told["facts"]
    return facts


def inputs_of(path: Path) -> dict[str, str]:
    """What `path` was made from, as `make` was told; empty when it was not made by `make`."""
    told = _read(_stamp(path))
    return dict(told["made_from"]) if told else {}


def _read(stamp: Path) -> dict[str, Any] | None:
    """What the stamp tells; None where there is none, or one that was cut short."""
    try:
        told: dict[str, Any] = json.loads(stamp.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return told


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + ".made.json")
