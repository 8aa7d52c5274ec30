"""Pods that cannot start: no node has room, a volume or a Secret is missing, the cluster refuses them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai102.cluster.facts import Facts, Pod
from ai102.cluster.finding import Finding, command, line, of_pod, of_workload
from ai102.cluster.quantities import words_of

CONFIGURATION_WAITS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
# What the scheduler says of some nodes, the cause in words, the next step; what is not here is repeated as it is.
UNFIT: tuple[tuple[str, str, str], ...] = (
    (r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim", "its volume is not there", "see the claim"),
    (r"volume node affinity", "its volume lies elsewhere", "let it run in the zone or on the node of its volume"),
    (r"node affinity/selector", "no label that it wants", "label nodes, or change nodeSelector and affinity"),
    (r"untolerated taint", "a taint that it does not tolerate", "add a toleration, or take the taint away"),
    (r"unschedulable", "cordoned", "`kubectl uncordon NODE` once it may take pods again"),
    (r"topology spread", "its spread over nodes or zones would be broken", "add nodes where they are missing"),
    (r"pod (?:anti-)?affinity", "its affinity to other pods cannot be met", "add nodes, or loosen the affinity"),
    (r"Too many pods", "as many pods as a node may have", "add nodes"),
)
INSUFFICIENT = "Insufficient "
MISSING = re.compile(r"(secret|configmap) \"?([^\s\"]+)\"? not found", re.IGNORECASE)
MISSING_KEY = re.compile(r"(?:references non-existent (?:secret|config) key: |couldn't find key )(\S+)", re.IGNORECASE)
MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume")
QUOTA = re.compile(r"exceeded quota: ([^,]+), (.+)", re.DOTALL)
SECURITY = re.compile(r"violates PodSecurity \"?([^\s\":]+)[^:]*:[^:]*?(?:latest|v[\d.]+)?\"?: (.+)", re.DOTALL)


def no_node_has_room(facts: Facts) -> Iterator[Finding]:
    """The scheduler's `0/3 nodes are available: 2 Insufficient cpu, 1 node(s) had ...` in words, most nodes first."""
    for pod in facts.running:
        if pod.node or not pod.unscheduled:
            continue
        total, _, said = pod.unscheduled.partition(" nodes are available: ")
        causes = [_cause(facts, pod, part) for part in re.split(r"\.(?:\s|$)", said)[0].split(", ") if part]
        causes.sort(key=lambda cause: -cause[0])
        whys = [f"{why} ({count} of {total.rpartition('/')[2]} nodes)" if count else why for count, why, _ in causes]
        why = "; ".join(whys) or line(pod.unscheduled)
        mends = dict.fromkeys(mend for _, _, mend in causes) or {command(facts, f"describe pod {pod.name}"): None}
        yield of_pod("no_node_has_room", pod, f"no node takes it: {why}", "; ".join(mends))


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
            level, breaks = (match[1], line(match[2], 240)) if match else ("", line(workload.refused, 240))
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


def _cause(facts: Facts, pod: Pod, part: str) -> tuple[int, str, str]:
    """Of how many nodes it is said, what, and what to do."""
    number, _, reason = part.partition(" ")
    count, reason = (int(number), reason) if number.isdecimal() else (0, part)
    if reason.startswith(INSUFFICIENT):
        resource = reason.removeprefix(INSUFFICIENT)
        mend = f"add nodes with {_thing(resource)}, or lower what it asks"
        return count, _too_little(facts, pod, resource), mend
    known = ((why, mend) for pattern, why, mend in UNFIT if re.search(pattern, reason))
    return (count, *next(known, (line(reason), command(facts, f"describe pod {pod.name}"))))


def _too_little(facts: Facts, pod: Pod, resource: str) -> str:
    asked = pod.asks.get(resource)
    if asked is None:
        return f"too little {_thing(resource)}"
    asks = f"it asks {words_of(resource, asked)}"
    most = max((node.room.get(resource, 0.0) for node in facts.nodes), default=None)
    if most is None:
        return asks
    if most == 0:
        return f"{asks}, and no node has any"
    if most < asked:
        return f"{asks}, and the largest node has {words_of(resource, most)}"
    return f"{asks}, and other pods have taken it"


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
