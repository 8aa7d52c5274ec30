"""Nodes that do not work as they should, and the pods on them."""

from __future__ import annotations

from collections.abc import Iterator

from ai102.cluster.facts import Facts, Pod
from ai102.cluster.finding import Finding, line, of_pod, shortened


def node_is_not_ready(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        pods = [pod for pod in facts.pods if pod.node == node.name and pod.phase not in ("Succeeded", "Failed")]
        if not node.is_ready and (pods or not node.is_cordoned):
            here = f"; pods of the namespace on it: {shortened([pod.name for pod in pods])}" if pods else ""
            why = f"it is NotReady: {line(node.message)}{here}"
            mend = "look at the machine, its kubelet and its network; its pods are replaced after 30 s of tolerance"
            yield Finding("node_is_not_ready", "wrong", f"node {node.name}", why, mend, (), _workloads(pods))


def node_is_short(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        for pressure in node.pressures:
            pods = [pod for pod in facts.pods if pod.node == node.name]
            why = f"it has {pressure}: it takes no new pods and may evict those it has"
            mend = {"DiskPressure": "free its disk", "MemoryPressure": "move pods away, or give it memory"}.get(
                pressure, "look at the machine"
            )
            yield Finding("node_is_short", "wrong", f"node {node.name}", why, mend, (), _workloads(pods))


def node_is_cordoned(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        if node.is_cordoned and node.is_ready:
            yield Finding(
                "node_is_cordoned",
                "note",
                f"node {node.name}",
                "it takes no new pods",
                f"`kubectl uncordon {node.name}`",
            )


def pod_was_evicted(facts: Facts) -> Iterator[Finding]:
    for pod in facts.pods:
        if pod.phase == "Failed" and pod.reason:
            why = f"a pod was ended by node {pod.node}: {pod.reason}, {line(pod.message)}"
            yield of_pod("pod_was_evicted", pod, why, "see the node's memory and disk", "note")


def _workloads(pods: list[Pod]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pod.workload for pod in pods if pod.workload))
