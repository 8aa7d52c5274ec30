"""What the control groups of this process let it use: a container with 2 GiB on a large host is a machine of 2 GiB.

Read from the files of cgroup v1, v2 and both together, of the process's own group and of those around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Version 1 writes "no limit" as the largest number of whole pages.
NO_LIMIT = 1 << 60
MEMORY_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")


@dataclass(frozen=True)
class Limits:
    """The smallest limit of all groups; None where none has one."""

    memory_bytes: int | None
    cpus: float | None


def limits_of(root: Path) -> Limits:
    """The limits of this process; `root` is "/", or a recorded tree with proc and sys."""
    memory, cpus = [], []
    for folder in _groups(root):
        memory += [limit for name in MEMORY_FILES if (limit := _bytes(folder / name)) is not None]
        if (quota := _quota(folder)) is not None:
            cpus.append(quota)
    return Limits(min(memory, default=None), min(cpus, default=None))


def _groups(root: Path) -> Iterator[Path]:
    """The folder of each group that this process is in, and those above as far as they are mounted."""
    mounts = list(_mounts(root))
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        for mount in mounts:
            if (mount.controllers is None) != (controllers == ""):
                continue
            if mount.controllers is None or mount.controllers & set(controllers.split(",")):
                yield from _upwards(root, mount, group.removesuffix(" (deleted)"))


@dataclass(frozen=True)
class _Mount:
    group: str  # the group that is seen at the mount point
    point: str
    controllers: frozenset[str] | None  # None: version 2


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        group, point = (_unescaped(field) for field in left.split()[3:5])
        if kind == "cgroup2":
            yield _Mount(group, point, None)
        elif kind == "cgroup":
            yield _Mount(group, point, frozenset(options.split(",")))


def _upwards(root: Path, mount: _Mount, group: str) -> Iterator[Path]:
    top = root / mount.point.lstrip("/")
    if mount.group != "/":
        # A container sees its own group as the whole tree, but reads its path as the host writes it.
        group = group.removeprefix(mount.group) if f"{group}/".startswith(f"{mount.group}/") else "/"
    folder = top / group.lstrip("/")
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _bytes(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdecimal() and int(text) < NO_LIMIT else None


def _quota(folder: Path) -> float | None:
    """Processors, as the share of each period that the group may run."""
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not period:
        quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _unescaped(field: str) -> str:
    """A path of mountinfo, which writes blanks as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _text(file: Path) -> str:
    """What the file holds; empty where there is none that this process may read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
