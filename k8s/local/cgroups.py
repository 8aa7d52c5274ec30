"""Control groups of the nodes, below one group that bears the cluster's name, in version 1, 2 and both together."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ai102.errors import UserError
from k8s.local.plan import Machine, Plan
from k8s.local.processes import identified, send

MOUNT = Path("/sys/fs/cgroup")
# A new group of version 1 has no processor and no memory node, and takes no process before it has both.
# In version 2 the root has no such files: a group without them takes those of its parent.
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
# How much the pods of all nodes together weigh against the programs of this machine. By default it is as much as one
# program, so that pods would starve beside a few: here they weigh as much as 64.
WEIGHTS = {"cpu.shares": "65536", "cpu.weight": "6400"}
REMOVAL_TIMEOUT_S = 10.0


def group_of(plan: Plan, node: Machine) -> str:
    """As the kubelet writes it."""
    return f"/{plan.name}/{node.name}"


def make(plan: Plan, node: Machine, mount: Path = MOUNT) -> None:
    for hierarchy in hierarchies(mount):
        for group in (hierarchy / plan.name, hierarchy / plan.name / node.name):
            _pass_on_controllers(group.parent)
            group.mkdir(exist_ok=True)
            for name in CPUSET_FILES:
                if (hierarchy / name).exists() and not _text(group / name):
                    (group / name).write_text(_text(group.parent / name), encoding="ascii")
        for name, weight in WEIGHTS.items():
            if (hierarchy / plan.name / name).exists():
                (hierarchy / plan.name / name).write_text(weight, encoding="ascii")


def remove(plan: Plan, node: Machine | None = None, mount: Path = MOUNT) -> None:
    """Remove the groups of one node, or all of the cluster's, and end what still runs in them."""
    ends = time.monotonic() + REMOVAL_TIMEOUT_S
    for hierarchy in hierarchies(mount):
        group = hierarchy / plan.name / (node.name if node else "")
        while group.is_dir() and not _removed(group):
            if time.monotonic() > ends:
                raise UserError(
                    f"{group}: cannot be removed within {REMOVAL_TIMEOUT_S:g} s: processes in it do not end"
                )
            time.sleep(0.05)  # the kernel tells nobody when a group of version 1 becomes empty


def left_of(plan: Plan, mount: Path = MOUNT) -> list[Path]:
    """The groups of this cluster that exist."""
    return [hierarchy / plan.name for hierarchy in hierarchies(mount) if (hierarchy / plan.name).is_dir()]


def hierarchies(mount: Path = MOUNT) -> list[Path]:
    """The root of each hierarchy: one in version 2, one a controller in version 1."""
    if (mount / "cgroup.controllers").exists():
        return [mount]
    return sorted(
        folder
        for folder in mount.iterdir()
        if folder.is_dir() and not folder.is_symlink() and (folder / "cgroup.procs").exists()
    )


def _pass_on_controllers(group: Path) -> None:
    """In version 2 a group has the controllers that its parent passes on; the kubelet wants all of them."""
    if (group / "cgroup.controllers").exists() and (group / "cgroup.subtree_control").exists():
        passed_on = " ".join(f"+{name}" for name in _text(group / "cgroup.controllers").split())
        (group / "cgroup.subtree_control").write_text(passed_on, encoding="ascii")


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii").strip()


def _removed(group: Path) -> bool:
    """Try once, the innermost first."""
    for folder in _innermost_first(group):
        try:
            folder.rmdir()
        except OSError:
            for pid in _members(folder):
                if process := identified(pid):
                    send(process, signal.SIGKILL)
            return False
    return True


def _innermost_first(group: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(group, topdown=False):
        yield Path(folder)


def _members(folder: Path) -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in (folder / "cgroup.procs").read_text(encoding="ascii").split()]
    return []
