"""What runs, in one screen: machines with their components, nodes, and pods that are not ready with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from k8s.local import api, components, down, machines, network
from k8s.local.plan import MACHINES, NODES, Machine, Plan

UNHEALTHY_SHOWN = 10
REASON_LENGTH = 90


@dataclass(frozen=True)
class MachineState:
    machine: Machine
    is_on: bool
    is_cut: bool
    running: tuple[str, ...]
    ended: tuple[str, ...]


@dataclass(frozen=True)
class State:
    machines: tuple[MachineState, ...]
    answers: bool  # whether the API server does
    nodes: tuple[api.Node, ...]
    pods: tuple[api.Pod, ...]


def state_of(plan: Plan) -> State | None:
    """None when there is no cluster."""
    if not network.left_of(plan):
        return None
    rows = tuple(_machine(plan, machine) for machine in MACHINES)
    answers = api.is_ready(plan)
    if not answers:
        return State(rows, False, (), ())
    return State(rows, True, tuple(api.nodes(plan)), tuple(api.pods(plan)))


def is_healthy(state: State | None) -> bool:
    if state is None or not state.answers or len(state.nodes) < len(NODES):
        return False
    machines_run = all(row.is_on and not row.is_cut and not row.ended for row in state.machines)
    return machines_run and all(node.is_ready for node in state.nodes) and not unhealthy(state.pods)


def lines_of(plan: Plan, state: State | None) -> list[str]:
    if state is None:
        left = down.leftovers(plan)
        return [f"no cluster {plan.name}", *(f"  left of one: {line}" for line in left)]
    lines = [f"cluster {plan.name} in {plan.folder}", ""]
    nodes = {node.name: node for node in state.nodes}
    for row in state.machines:
        lines.append(f"{row.machine.name:9} {row.machine.address:10} {_words(row, nodes.get(row.machine.name))}")
    lines.append("")
    if not state.answers:
        return [*lines, "the API server does not answer"]
    counts = Counter(pod.namespace for pod in state.pods if not pod.is_over)
    ready = Counter(pod.namespace for pod in state.pods if pod.is_ready and not pod.is_over)
    lines += [f"pods of {name}: {ready[name]} of {count} ready" for name, count in sorted(counts.items())]
    problems = unhealthy(state.pods)
    for pod in problems[:UNHEALTHY_SHOWN]:
        where = f" on {pod.node}" if pod.node else ""
        reason = " ".join(pod.reason.split())[:REASON_LENGTH] or "no reason given"
        lines.append(f"  {pod.namespace}/{pod.name}{where}: {pod.phase}, {pod.restarts} restarts: {reason}")
    if len(problems) > UNHEALTHY_SHOWN:
        lines.append(f"  and {len(problems) - UNHEALTHY_SHOWN} more")
    return lines


def unhealthy(pods: Sequence[api.Pod]) -> list[api.Pod]:
    return [pod for pod in pods if not pod.is_ready and not pod.is_over]


def _machine(plan: Plan, machine: Machine) -> MachineState:
    records = [record for record in components.records(plan) if record.machine == machine.name]
    return MachineState(
        machine,
        machines.first_process(plan, machine) is not None,
        network.is_cut(plan, machine),
        tuple(record.name for record in records if record.is_running),
        tuple(record.name for record in records if not record.is_running),
    )


def _words(row: MachineState, node: api.Node | None) -> str:
    if not row.is_on:
        return "off"
    words = ["cut off the network"] if row.is_cut else []
    if node is not None:
        words.append("Ready" if node.is_ready else f"NotReady ({' '.join(node.reason.split())[:REASON_LENGTH]})")
    words += [f"{name} ended" for name in row.ended]
    return "; ".join([*words, " ".join(row.running) or "on"])
