"""Pods that cannot start: no node has room, a volume or a Secret is missing, the cluster refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai102.cluster.facts import Facts, Pod
from ai102.cluster.finding import Finding, command, line, of_pod, of_workload
from ai102.cluster.quantities import words_of

CONFIGURATION_WAITS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
# What the scheduler says of nodes, the cause in words, the next step; the rest of the message counts as it is.
UNFIT: tuple[tuple[str, str, str], ...] = (
    (r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim", "its volume is not there", "see the claim"),
    (r"volume node affinity", "its volume lies on another node or in another zone", "free a node there"),
    (
        r"didn't match Pod's node affinity/selector",
        "no node has the labels that it wants",
        "label nodes, or change nodeSelector and affinity in the overlay",
    ),
    (
        r"untolerated taint",
        "nodes have a taint that it does not tolerate",
        "add a toleration, or take the taint away",
    ),
    (r"were unschedulable", "nodes are cordoned", "`kubectl uncordon NODE` once they may take pods again"),
    (r"topology spread", "its spread over nodes or zones would be broken", "add nodes in the missing zone"),
    (r"pod (?:anti-)?affinity", "its affinity to other pods cannot be met", "add nodes, or loosen the affinity"),
    (r"Too many pods", "nodes have as many pods as they may", "add nodes"),
)
MISSING = re.compile(r"(secret|configmap) \"?([^\s\"]+)\"? not found", re.IGNORECASE)
MISSING_KEY = re.compile(r"(?:references non-existent (?:secret|config) key: |couldn't find key )(\S+)", re.IGNORECASE)
MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume")
QUOTA = re.compile(r"exceeded quota: ([^,]+), (.+)", re.DOTALL)
SECURITY = re.compile(r"violates PodSecurity \"?([^\s\":]+)[^:]*:[^:]*?(?:latest|v[\d.]+)?\"?: (.+)", re.DOTALL)


def no_node_has_room(facts: Facts) -> Iterator[Finding]:
    for pod in facts.running:
        if pod.unscheduled and not pod.node:
            whys, mends = [], []
            for resource in re.findall(r"Insufficient ([\w./-]+?)[,.]?(?:\s|$)", pod.unscheduled):
                whys.append(_too_little(facts, pod, resource))
                mends.append(f"add nodes with {_thing(resource)}, or lower what it asks")
            for pattern, why, mend in UNFIT:
                if re.search(pattern, pod.unscheduled):
                    whys.append(why)
                    mends.append(mend)
            why = "; ".join(dict.fromkeys(whys)) or line(pod.unscheduled)
            mend = "; ".join(dict.fromkeys(mends)) or command(facts, f"describe pod {pod.name}")
            yield of_pod("no_node_has_room", pod, f"no node takes it: {why}", mend)


def configuration_is_missing(facts: Facts) -> Iterator[Finding]:
    """A Secret or ConfigMap, or a key of it, that a container or a volume names."""
    for pod in facts.running:
        waiting = [each for each in pod.containers if each.waits in CONFIGURATION_WAITS]
        mounts = [event for event in pod.events if event.reason in MOUNT_EVENTS] if _is_created(pod) else []
        for message in [*(each.message for each in waiting), *(event.message for event in mounts[-1:])]:
            if "failed to pull" in message.lower():
                continue
            yield of_pod("configuration_is_missing", pod, *_missing(facts, message))
            break


def pods_are_refused(facts: Facts) -> Iterator[Finding]:
    for workload in facts.workloads:
        if not workload.refused or workload.ready >= workload.wanted:
            continue
        if match := QUOTA.search(workload.refused):
            why = f"the quota {match[1]} is used up: {line(match[2])}"
            mend = f"raise it, or lower what is asked; {command(facts, f'describe quota {match[1]}')}"
            yield of_workload("quota_is_used_up", workload, why, mend)
        elif "PodSecurity" in workload.refused:
            match = SECURITY.search(workload.refused)
            level, breaks = (match[1], line(match[2])) if match else ("", line(workload.refused))
            why = f"the namespace's Pod Security level {level} refuses its pods: {breaks}"
            mend = "correct the securityContext in the overlay, or let it run in a namespace of its own"
            yield of_workload("pod_security_refuses", workload, why, mend)
        else:
            why = f"the cluster refuses its pods: {line(workload.refused, 240)}"
            yield of_workload("pods_are_refused", workload, why, "apply the whole overlay, which has what is named")


def claim_is_not_bound(facts: Facts) -> Iterator[Finding]:
    for claim in facts.claims:
        if claim.phase != "Bound" and not any(event.reason == "WaitForFirstConsumer" for event in claim.events[-1:]):
            said = f": {line(claim.events[-1].message)}" if claim.events else ""
            mend = "set storageClassName to one of `kubectl get storageclass`, or make a default one"
            yield Finding("claim_is_not_bound", "wrong", f"claim {claim.name}", f"it has no volume{said}", mend)


def _too_little(facts: Facts, pod: Pod, resource: str) -> str:
    asked = pod.asks.get(resource)
    rooms = [node.room.get(resource, 0.0) for node in facts.nodes]
    if asked is None:
        return f"too little {_thing(resource)}"
    most = max(rooms, default=None)
    if most is None:
        return f"it asks {words_of(resource, asked)}"
    if most == 0:
        return f"it asks {words_of(resource, asked)}, and no node has any"
    if most < asked:
        return f"it asks {words_of(resource, asked)}, and the largest node has {words_of(resource, most)}"
    return f"it asks {words_of(resource, asked)}, and other pods have taken it on every node that may run it"


def _thing(resource: str) -> str:
    return {"cpu": "CPU", "ephemeral-storage": "disk"}.get(resource, resource)


def _missing(facts: Facts, message: str) -> tuple[str, str]:
    if key := MISSING_KEY.search(message):
        return f"a key is missing: {key[1].rstrip(',.')} ({line(message)})", "add the key to that Secret or ConfigMap"
    if match := MISSING.search(message):
        kind, name = "Secret" if match[1].lower() == "secret" else "ConfigMap", match[2].rpartition("/")[2]
        if kind == "ConfigMap":
            return f"the ConfigMap {name} does not exist", "apply the whole overlay, which has it"
        make = f"`ai102 kubernetes secrets --namespace {facts.namespace} | kubectl apply --filename -`"
        return f"the Secret {name} does not exist", f"make the Secrets: {make}"
    return line(message, 240), "correct what the message names"


def _is_created(pod: Pod) -> bool:
    """Whether it waits for its volumes: it has a node, and none of its containers ran."""
    return bool(pod.node) and all(each.waits in ("ContainerCreating", "PodInitializing") for each in pod.containers)
