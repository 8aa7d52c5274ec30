"""The disk of a node: a file system in a sparse file, so that it can run full without filling this machine's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from k8s.local.plan import Machine, Plan

SIZE_BYTES = 24 << 30
FILLER = "filled-by-a-fault"
RESERVE_BYTES = 64 << 20
LOOPS = Path("/sys/block")


def file_of(plan: Plan, node: Machine) -> Path:
    return plan.folder_of(node) / "disk.ext4"


def make(plan: Plan, node: Machine) -> None:
    """Make it unless it is there. Raises UserError."""
    file = file_of(plan, node)
    if file.exists():
        return
    with artifact.replacing(file) as temporary:
        with temporary.open("wb") as empty:
            empty.truncate(SIZE_BYTES)
        # Blocks are taken from this machine's disk when they are written, not now. A node that is switched off leaves
        # its disk whole, since the kernel lives on: no journal.
        options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"]
        done = subprocess.run(["mkfs.ext4", *options, temporary], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"mkfs.ext4 {file}: {done.stderr.strip()}")


def fill(var: Path) -> None:
    """Let a file take all room of a node's disk, mounted at `var`, but for some."""
    free = os.statvfs(var)
    size = free.f_bavail * free.f_frsize - RESERVE_BYTES
    if size > 0:
        with (var / FILLER).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def free(var: Path) -> bool:
    """Remove that file; whether there was one."""
    was_full = (var / FILLER).exists()
    (var / FILLER).unlink(missing_ok=True)
    return was_full


def loops_of(plan: Plan) -> list[str]:
    """The loop devices behind which a disk of this cluster lies."""
    devices = []
    for backing in LOOPS.glob("loop*/loop/backing_file"):
        try:
            file = backing.read_text(encoding="utf-8").strip()
        except OSError:  # it was released meanwhile
            continue
        if file.startswith(f"{plan.folder}/"):
            devices.append(backing.parts[-3])
    return devices
