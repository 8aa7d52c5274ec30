"""Faults on request, and their end. `up` ends all of them."""

from __future__ import annotations

import signal
from collections.abc import Callable

from ai102.errors import UserError
from k8s.local import components, disk, down, machines, network, processes
from k8s.local.plan import CONTROL, Machine, Plan, node_named


def cut_network(plan: Plan, node: Machine) -> None:
    """Its cable is unplugged; its pods run on."""
    network.cut(plan, node)


def join_network(plan: Plan, node: Machine) -> None:
    network.join(plan, node)


def kill_node(plan: Plan, node: Machine) -> None:
    """It loses its power. `up` switches it on again."""
    down.power_off(plan, node)
    components.forget(plan, node)


def kill_kubelet(plan: Plan, node: Machine) -> None:
    """KILL; its pods run on. `up` starts it again."""
    _kill(plan, node, "kubelet")


def pause_control_plane(plan: Plan) -> None:
    """Everything but etcd stops in the middle of what it does: connections stay open and nobody answers."""
    for process in _control_plane(plan):
        processes.send(process, signal.SIGSTOP)


def resume_control_plane(plan: Plan) -> None:
    components.resume(plan)


def fill_disk(plan: Plan, node: Machine) -> None:
    """Its disk runs full but for 64 MiB."""
    disk.fill(machines.var_of(plan, node))


def free_disk(plan: Plan, node: Machine) -> None:
    disk.free(machines.var_of(plan, node))


ON_NODES: dict[str, Callable[[Plan, Machine], None]] = {
    "cut-network": cut_network,
    "join-network": join_network,
    "kill-node": kill_node,
    "kill-kubelet": kill_kubelet,
    "fill-disk": fill_disk,
    "free-disk": free_disk,
}
ON_CONTROL_PLANE: dict[str, Callable[[Plan], None]] = {
    "pause-control-plane": pause_control_plane,
    "resume-control-plane": resume_control_plane,
}


def inject(plan: Plan, fault: str, node: str) -> None:
    """Raises UserError for an unknown fault or node, and for a node that is off."""
    if fault in ON_NODES:
        ON_NODES[fault](plan, node_named(node))
    elif fault in ON_CONTROL_PLANE:
        ON_CONTROL_PLANE[fault](plan)
    else:
        raise UserError(f'there is no fault "{fault}": the faults are {", ".join([*ON_NODES, *ON_CONTROL_PLANE])}')


def _kill(plan: Plan, machine: Machine, name: str) -> None:
    record = components.record_of(plan, machine, name)
    process = record.process if record else None
    if record is None or process is None:
        raise UserError(f"{machine.name}: {name} does not run")
    processes.send(process, signal.SIGKILL)
    processes.wait_for_end([record.holder], components.END_TIMEOUT_S)


def _control_plane(plan: Plan) -> list[processes.Process]:
    records = [record for record in components.records(plan) if record.machine == CONTROL.name]
    running = [record.process for record in records if record.name != "etcd" and record.process]
    if not running:
        raise UserError("the control plane does not run: `python -m k8s.local up` starts it")
    return running
