"""Settings of the one kernel that the cluster changes; `down` sets them back."""

from __future__ import annotations

import json
from pathlib import Path

from ai102 import artifact
from k8s.local.plan import Plan

ROOT = Path("/proc/sys")
# Many kubelets and pods watch files.
INSTANCES = "fs/inotify/max_user_instances"
ENOUGH_INSTANCES = 1024
# What each kubelet sets when it starts.
SET_BY_KUBELET = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


def up(plan: Plan, root: Path = ROOT) -> None:
    """Keep the values of before, once, and set what the cluster needs."""
    if not _file(plan).exists():
        values = {name: _read(root / name) for name in (INSTANCES, *SET_BY_KUBELET) if (root / name).exists()}
        artifact.write_text(_file(plan), json.dumps(values, indent=1))
    if int(_read(root / INSTANCES)) < ENOUGH_INSTANCES:
        (root / INSTANCES).write_text(str(ENOUGH_INSTANCES), encoding="ascii")


def down(plan: Plan, root: Path = ROOT) -> None:
    if _file(plan).exists():
        values: dict[str, str] = json.loads(_file(plan).read_text(encoding="utf-8"))
        for name, value in values.items():
            if _read(root / name) != value:
                (root / name).write_text(value, encoding="ascii")


def _file(plan: Plan) -> Path:
    return plan.folder / "kernel.json"


def _read(file: Path) -> str:
    return file.read_text(encoding="ascii").strip()
