"""The files that are handed in: which there are, and their content in parts of bounded size."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from ai102.errors import UserError

# The API's limit for an input with the four bytes of its length.
MAX_FILE_BYTES = (10 << 20) - 4
# In base64 it fits in one request of the client.
PART_BYTES = 5_500_000


class Entry(NamedTuple):
    """A file as it was when it was found or read; `path` as the user wrote its folder, in the file system's bytes."""

    path: bytes
    size: int
    mtime_ns: int


class Read(NamedTuple):
    """A file with its content."""

    entry: Entry
    content: bytes


class Refused(NamedTuple):
    """A file that is not handed in, and why."""

    path: bytes
    why: str


class Part(NamedTuple):
    files: list[Read]
    refused: list[Refused]


def check_names(names: Iterable[str]) -> None:
    """Raises UserError for one that is neither a file nor a folder."""
    for name in names:
        path = Path(name)
        if not path.exists():
            raise UserError(f"{name}: there is no such file or folder")
        if not path.is_dir() and not path.is_file():
            raise UserError(f"{name}: it is neither a file nor a folder")


def entries_from(names: Sequence[str], besides: AbstractSet[Path]) -> Iterator[Entry]:
    """Every file named and every file of the folders named, without hidden ones and `besides` (resolved paths).

    Raises UserError for a folder that cannot be read.
    """
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from _files_of(path, besides)
        else:
            yield _entry(str(path), path.stat())


def _files_of(folder: Path, besides: AbstractSet[Path]) -> Iterator[Entry]:
    names = {path.name for path in besides}
    try:
        with os.scandir(folder) as rows:
            for row in rows:
                if row.name.startswith(".") or (row.name in names and Path(row.path).resolve() in besides):
                    continue
                if row.is_dir(follow_symlinks=False):
                    yield from _files_of(Path(row.path), besides)
                elif row.is_file():
                    yield _entry(row.path, row.stat())
    except OSError as err:
        raise UserError(f"{folder}: the folder cannot be read ({err.strerror})") from err


def _entry(path: str, facts: os.stat_result) -> Entry:
    return Entry(os.fsencode(path), facts.st_size, facts.st_mtime_ns)


def read_part(paths: Iterable[bytes]) -> Part:
    """The first of the files, until they are PART_BYTES together."""
    part, size = Part([], []), 0
    for path in paths:
        if size >= PART_BYTES:
            break
        try:
            read = _read(path)
        except OSError as err:
            part.refused.append(Refused(path, f"the file cannot be read ({err.strerror})"))
            continue
        if isinstance(read, Refused):
            part.refused.append(read)
            continue
        part.files.append(read)
        size += len(read.content)
    return part


def _read(path: bytes) -> Read | Refused:
    with Path(os.fsdecode(path)).open("rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            return Refused(path, "it is no regular file")
        content = file.read(MAX_FILE_BYTES + 1)
    if not content:
        return Refused(path, "the file is empty")
    if len(content) > MAX_FILE_BYTES:
        return Refused(path, f"the file has {facts.st_size} bytes: a job takes {MAX_FILE_BYTES} at most")
    return Read(Entry(path, facts.st_size, facts.st_mtime_ns), content)
