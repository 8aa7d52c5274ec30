"""Whether a file lies in memory: what was decrypted there must not reach a disk."""

from __future__ import annotations

from pathlib import Path

IN_MEMORY = ("tmpfs", "ramfs")
MOUNTS = Path("/proc/self/mountinfo")


def filesystem_holding(path: Path) -> str:
    """The type of its file system, such as ext4."""
    return filesystem_of(path.resolve(), MOUNTS.read_text(encoding="utf-8"))


def filesystem_of(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds the absolute `path`, from Linux's /proc/PID/mountinfo (proc(5))."""
    best, kind = -1, "an unknown file system"
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode().decode("unicode_escape")  # a space is written \\040
        if path.is_relative_to(point) and len(point) >= best:  # the last of several on one place is on top
            best, kind = len(point), after.split(" ")[0]
    return kind
