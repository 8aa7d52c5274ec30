"""Scenarios in which something ends without a farewell."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from k8s.local import faults, network, processes
from k8s.local.plan import NODES
from k8s.local.waiting import until
from tests.cluster.asking import processes_of_pod
from tests.cluster.calls.driving import Driven
from tests.cluster.calls.sizes import REPLICAS
from tests.cluster.calls.stack import NAMESPACE, READY_WITHIN_S, Stack

# The process that holds a pod's namespaces, which is no part of a container.
SANDBOX = "pause"


def kill_replica(stack: Stack, load: Driven) -> float:
    return kill(stack, "triton")


def kill_gateway(stack: Stack, load: Driven) -> float:
    return kill(stack, "gateway")


def kill(stack: Stack, name: str) -> float:
    """KILL every process of one pod, and wait until its container is ready again."""
    pod = stack.ready(name)[0]
    victims = [int(entry.name) for entry in processes_of_pod(stack.plan, pod.name, NAMESPACE) if _is_ours(entry)]
    began_s = time.monotonic()
    for pid in victims:
        if process := processes.identified(pid):
            processes.send(process, signal.SIGKILL)

    def is_back() -> bool:
        return any(each.name == pod.name and each.restarts > pod.restarts for each in stack.ready(name))

    until(is_back, f"{pod.name} is ready again", READY_WITHIN_S)
    return began_s


def cut_node(stack: Stack, load: Driven) -> float:
    """A node with a replica, and a gateway if there is such a one, without the issuer."""
    node = stack.node_without("issuer")
    began_s = time.monotonic()
    faults.inject(stack.plan, "cut-network", node)

    def is_replaced() -> bool:
        return sum(pod.node != node for pod in stack.ready("triton")) == REPLICAS

    until(is_replaced, f"the replicas of {node} are ready elsewhere", READY_WITHIN_S, load.check)
    return began_s


def join_nodes(stack: Stack) -> None:
    for node in NODES:
        if network.is_cut(stack.plan, node):
            network.join(stack.plan, node)


def _is_ours(entry: Path) -> bool:
    try:
        return (entry / "comm").read_text(encoding="utf-8").strip() != SANDBOX
    except OSError:  # it has ended
        return False
