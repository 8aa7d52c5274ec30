"""Measures the disk under a folder: at most 256 MB and some seconds, and no file is left, not even after kill -9."""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ai102.preflight.machine import Disk, DiskKind, Speed

BLOCK, TOTAL = 4 << 20, 256 << 20
SMALL, SMALL_WRITES = 4096, 100
SECONDS = 2.0  # for each of the three measurements
ROOM = 1 << 30  # with less free, nothing is written
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "fuse.sshfs", "fuse.glusterfs")
VIRTUAL = ("vd", "xvd")  # what is behind a virtual disk is not visible, and its "rotational" says nothing


def disk_under(folder: Path, root: Path) -> Disk:
    """The disk, with its speed. Raises OSError when there is no such folder."""
    space = os.statvfs(folder)
    free = space.f_frsize * space.f_bavail
    kind = kind_of(folder.stat().st_dev, root)
    speed, trouble = None, ""
    if free < ROOM:
        trouble = "less than 1 GB is free"
    else:
        try:
            speed = measured(folder)
        except OSError as err:
            trouble = err.strerror or str(err)
    return Disk(str(folder.absolute()), kind, free, speed, trouble)


def measured(folder: Path) -> Speed:
    """Write, read and sync in a file without a name. Raises OSError where no file can be written."""
    with mmap.mmap(-1, BLOCK) as block, nameless_file(folder) as (file, is_direct):
        block.write(os.urandom(BLOCK))  # a disk that compresses would be flattered by zeros
        start, written = time.monotonic(), 0
        while written < TOTAL and time.monotonic() - start < SECONDS:
            written += os.pwrite(file, block, written)
            if not is_direct:
                os.fdatasync(file)  # each time: the cache would take all at once, and the disk a minute
        os.fdatasync(file)
        write_s = time.monotonic() - start
        if not is_direct:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        start, read = time.monotonic(), 0
        while read < written and time.monotonic() - start < SECONDS:
            read += os.preadv(file, [block], read)
        read_s = time.monotonic() - start
        waits_s = list(_small_writes(file, block))
    slow_s = sorted(waits_s)[len(waits_s) * 99 // 100 - 1 if len(waits_s) > 1 else 0]
    return Speed(written / 1e6 / write_s, read / 1e6 / read_s, slow_s * 1e3, is_direct)


def _small_writes(file: int, block: mmap.mmap) -> Iterator[float]:
    """How long each small write takes until the disk has it; the first is left out, since it fills caches."""
    with memoryview(block) as whole, whole[:SMALL] as small:
        end = time.monotonic() + SECONDS
        for position in range(SMALL_WRITES + 1):
            start = time.monotonic()
            os.pwrite(file, small, position * SMALL)
            os.fdatasync(file)
            if position:
                yield time.monotonic() - start
            if position and time.monotonic() > end:
                return


@contextmanager
def nameless_file(folder: Path) -> Iterator[tuple[int, bool]]:
    """A file in `folder` that is gone when its descriptor is, and whether it passes the system's cache by."""
    file, is_direct = _opened_direct(folder)
    try:
        yield file, is_direct
    finally:
        os.close(file)


def _opened_direct(folder: Path) -> tuple[int, bool]:
    for flags, is_direct in ((os.O_DIRECT, True), (0, False)):
        try:
            return _opened(folder, flags), is_direct
        except OSError as err:
            if err.errno != errno.EINVAL or not is_direct:
                raise
    raise AssertionError("the loop returns or raises")


def _opened(folder: Path, flags: int) -> int:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | flags, 0o600)
    except OSError as err:
        # What a kernel or a file system without such files says.
        if err.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
            raise
    return opened_and_unlinked(folder, flags)


def opened_and_unlinked(folder: Path, flags: int) -> int:
    """For file systems that know no nameless files: a name for the moment between two calls."""
    path = folder / f".ai102-preflight-{os.getpid()}"
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | flags, 0o600)
    path.unlink()
    return file


def kind_of(device: int, root: Path) -> DiskKind | None:
    """What kind of disk the device number belongs to; None where that is not visible, as under overlayfs."""
    number = f"{os.major(device)}:{os.minor(device)}"
    place = root / "sys/dev/block" / number
    return _kind_of_block(place.resolve(), root) if place.exists() else _kind_of_mount(number, root)


def _kind_of_block(place: Path, root: Path) -> DiskKind | None:
    if (place / "partition").exists():
        place = place.parent
    # A mapped or striped disk is as fast as its slowest part; the first stands for all.
    if parts := sorted((place / "slaves").glob("*")):
        return _kind_of_block(parts[0].resolve(), root)
    if place.name.startswith("nvme"):
        return "NVMe"
    if place.name.startswith(VIRTUAL):
        return "virtual disk"
    try:
        rotates = (place / "queue/rotational").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return "hard disk" if rotates == "1" else "SSD"


def _kind_of_mount(number: str, root: Path) -> DiskKind | None:
    for line in (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == number:
            kind = right.split()[0]
            return "memory" if kind in ("tmpfs", "ramfs") else "network" if kind in NETWORK else None
    return None
