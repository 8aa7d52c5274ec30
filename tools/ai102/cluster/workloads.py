"""Deployments and the like as a whole: rollouts, releases side by side, spread, budgets, missing pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ai102.cluster.facts import Facts, Pod
from ai102.cluster.finding import Finding, command, line, of_workload
from ai102.cluster.release import images_of
from ai102.cluster.restarting import last_probe


def rollout_is_stuck(facts: Facts) -> Iterator[Finding]:
    for workload in facts.workloads:
        if workload.stuck:
            pods = f"{workload.ready} of {workload.wanted} pods are ready, {workload.updated} are of the new release"
            why = f"its rollout makes no progress: {pods}"
            undo = command(facts, f"rollout undo deployment {workload.name}")
            yield of_workload("rollout_is_stuck", workload, why, f"mend what is said of its pods, or go back: {undo}")


def two_releases_run(facts: Facts) -> Iterator[Finding]:
    """Ready pods of one workload with different images: in the middle of a rollout, or for as long as that is stuck."""
    for workload in facts.workloads:
        counts = Counter(images_of(pod) for pod in facts.of_workload(workload.name) if pod.is_ready)
        if len(counts) > 1:
            parts = [
                f"{count} with {' and '.join(image.words for image in images)}"
                for images, count in counts.most_common()
            ]
            mend = f"wait for the rollout: {command(facts, f'rollout status deployment {workload.name}')}"
            why = f"two releases answer calls: {', '.join(parts)}"
            yield of_workload("two_releases_run", workload, why, mend, "note")


def gateway_has_no_replica(facts: Facts) -> Iterator[Finding]:
    gateways = [workload for workload in facts.workloads if workload.role == "gateway" and workload.wanted]
    if not gateways or any(pod.is_ready for pod in facts.of_role("triton")):
        return
    wanted = sum(workload.wanted for workload in facts.workloads if workload.role == "triton")
    why = f"it has no replica to send calls to: 0 of {wanted} triton pods are ready, so every call fails"
    mend = "mend triton first; the gateway goes on by itself"
    if wanted == 0:
        mend = command(facts, "scale deployment triton --replicas=3")
    yield of_workload("gateway_has_no_replica", gateways[0], why, mend)


def replicas_share_a_node(facts: Facts) -> Iterator[Finding]:
    able = [node for node in facts.nodes if node.is_ready and not node.is_cordoned]
    for workload in facts.workloads:
        pods = [pod for pod in facts.of_workload(workload.name) if pod.is_ready]
        nodes = {pod.node for pod in pods}
        if workload.role in ("triton", "gateway") and len(pods) > 1 and len(nodes) == 1 and len(able) > 1:
            why = f"all {len(pods)} ready pods are on node {nodes.pop()}: with it all calls are lost"
            restart = command(facts, f"rollout restart deployment {workload.name}")
            mend = f"{restart} spreads them, where other nodes have room"
            yield of_workload("replicas_share_a_node", workload, why, mend, "note")


def budget_blocks_drain(facts: Facts) -> Iterator[Finding]:
    """Wrong where a node is being drained; a note where the budget could never allow one."""
    cordoned = {node.name for node in facts.nodes if node.is_cordoned}
    nodes = {pod.name: pod.node for pod in facts.running}
    for budget in facts.budgets:
        waiting = [name for name in budget.pods if nodes.get(name) in cordoned]
        if budget.allowed or not budget.desired or not (waiting or budget.healthy >= budget.desired):
            continue
        where = f"the drain of {nodes[waiting[0]]} waits" if waiting else "a drain of its node would wait"
        why = f"no pod may leave, so {where}: {budget.healthy} are healthy and {budget.desired} must stay"
        mend = "start more replicas, or get those that are not ready to run"
        yield Finding("budget_blocks_drain", "wrong" if waiting else "note", f"budget {budget.name}", why, mend)


def pods_are_missing(facts: Facts, explained: frozenset[str]) -> Iterator[Finding]:
    """Of workloads of which nothing else says why."""
    for workload in facts.workloads:
        if workload.ready >= workload.wanted or workload.name in explained:
            continue
        pods = [pod for pod in facts.of_workload(workload.name) if not pod.is_ready]
        states = "; ".join(dict.fromkeys(_state(pod) for pod in pods)) or "no pod of it exists"
        why = f"{workload.ready} of {workload.wanted} are ready: {states}"
        mend = f"wait; if it stays, {command(facts, f'describe pod {pods[0].name}' if pods else 'get events')}"
        yield of_workload("pods_are_missing", workload, why, mend)


def _state(pod: Pod) -> str:
    waits = next((each.waits for each in pod.containers if each.waits), "")
    if waits:
        return f"one is at {waits}"
    if not pod.node:
        return "one has no node yet"
    said = last_probe(pod)
    started = all(each.is_started for each in pod.containers if not each.is_initial)
    return f"one {'is not ready' if started else 'starts'}{f': {line(said)}' if said else ''}"
