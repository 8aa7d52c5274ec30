"""Which files the patterns name now, and which older ones a rotation left to read."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


class Found(NamedTuple):
    path: Path
    key: tuple[int, int]  # device and inode: the same file under another name


def matching(patterns: Sequence[str]) -> list[Found]:
    """Regular files, links followed; each inode once, under the name that is first."""
    by_key: dict[tuple[int, int], Found] = {}
    for pattern in patterns:
        for name in sorted(glob.glob(pattern)):  # noqa: PTH207  patterns begin at any folder
            if found := _found(Path(name)):
                by_key.setdefault(found.key, found)
    return list(by_key.values())


def rotated(path: Path) -> list[tuple[float, Found]]:
    """Files beside `path` that were called so before, none compressed: when each was last written, the oldest first."""
    place = path.resolve()
    beside: list[tuple[float, Found]] = []
    try:
        siblings = [one for one in place.parent.iterdir() if one.name.startswith((f"{place.name}.", f"{place.name}-"))]
    except OSError:
        return []
    for sibling in siblings:
        with suppress(FileNotFoundError):
            found = None if sibling.suffix in COMPRESSED else _found(sibling)
            if found:
                beside.append((sibling.stat().st_mtime, found))
    return sorted(beside)


def _found(path: Path) -> Found | None:
    try:
        facts = path.stat()
    except OSError:  # gone again, or a link to nothing
        return None
    return Found(path, (facts.st_dev, facts.st_ino)) if stat.S_ISREG(facts.st_mode) else None


def opened(path: Path) -> int | None:
    """A handle to read from; None when it went meanwhile."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
