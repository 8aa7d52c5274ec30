"""Take the cluster down: nothing of it is left, whatever state it was in, also after a kill in the middle of `up`.

Names of namespaces and groups tell what belongs to it, not records, which a killed program has not written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ai102.errors import UserError
from k8s.local import cgroups, disk, kernel, machines, network
from k8s.local.plan import MACHINES, NODES, Machine, Plan
from k8s.local.waiting import until

LOOPS_TIMEOUT_S = 10.0
# What a killed `up` was just running outside of the machines, such as mkfs, ends by itself.
LEFT_TIMEOUT_S = 10.0


def down(plan: Plan) -> None:
    """Raises UserError when something is left, with what it is."""
    for machine in MACHINES:
        machines.switch_off(plan, machine)
    network.down(plan)
    cgroups.remove(plan)
    kernel.down(plan)
    # The kernel unmounts a disk some time after the last process of the node has ended.
    until(lambda: not disk.loops_of(plan), "the disks of the nodes are released", LOOPS_TIMEOUT_S)
    shutil.rmtree(plan.folder, ignore_errors=True)
    try:
        until(lambda: not leftovers(plan), "nothing of the cluster is left", LEFT_TIMEOUT_S)
    except UserError as err:
        raise UserError("\n".join([f"{err}, but:", *leftovers(plan)])) from err


def power_off(plan: Plan, machine: Machine) -> None:
    """A machine that loses its power: no farewell reaches the others, and its network is silent."""
    network.cut(plan, machine)
    machines.switch_off(plan, machine)
    network.unplug(plan, machine)
    if machine in NODES:
        cgroups.remove(plan, machine)


def leftovers(plan: Plan) -> list[str]:
    """What exists of the cluster on this machine, a line each; empty after `down`."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    lines = [f"namespace {name}" for name in network.left_of(plan)]
    lines += [f"control group {group}" for group in cgroups.left_of(plan)]
    lines += [f"disk {device}" for device in disk.loops_of(plan)]
    lines += [f"mount {line.split()[4]}" for line in mounts if f"{plan.folder}/" in line]
    lines += [f"process {pid}: {command}" for pid, command in _processes(plan)]
    if plan.folder.exists():
        lines.append(f"folder {plan.folder}")
    return lines


def _processes(plan: Plan) -> list[tuple[int, str]]:
    """Programs whose command names a file of the cluster."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:  # it has ended
                continue
            if f"{plan.folder}/" in command:
                processes.append((int(entry.name), command[:200]))
    return processes
