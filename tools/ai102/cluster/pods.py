"""Pods from the API's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ai102.cluster.facts import ROLES, SUPPORT, Container, Ended, Event, Pod
from ai102.cluster.quantities import number_of

Item = Mapping[str, Any]
NAME_LABEL = "app.kubernetes.io/name"


def pods_from(pods: Sequence[Item], replica_sets: Sequence[Item], events: Sequence[Item]) -> tuple[Pod, ...]:
    """In the order of their workload's and their own names."""
    owners = {name_of(each): owner_of(each) for each in replica_sets}
    made = (pod_from(pod, owners, events_of(events, "Pod", name_of(pod))) for pod in pods)
    return tuple(sorted(made, key=lambda pod: (pod.workload, pod.name)))


def pod_from(pod: Item, owners: Mapping[str, str], events: Sequence[Event] = ()) -> Pod:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    owner, labels = owner_of(pod), metadata.get("labels", {})
    unscheduled = conditions.get("PodScheduled", {})
    return Pod(
        name=name_of(pod),
        workload=owners.get(owner, owner),
        role=role_of(labels),
        node=spec.get("nodeName", ""),
        phase=status.get("phase", "Unknown"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        is_ending="deletionTimestamp" in metadata,
        created_s=seconds_of(metadata.get("creationTimestamp")),
        template=labels.get("pod-template-hash", labels.get("controller-revision-hash", "")),
        unscheduled=unscheduled.get("message", "") if unscheduled.get("status") == "False" else "",
        asks=_asks(spec),
        containers=_containers(spec, status),
        volumes=tuple(volume["image"]["reference"] for volume in spec.get("volumes", ()) if "image" in volume),
        events=tuple(events),
    )


def name_of(item: Item) -> str:
    return str(item["metadata"]["name"])


def owner_of(item: Item) -> str:
    """The name of what controls it; empty when nothing does."""
    owners = item["metadata"].get("ownerReferences", ())
    return next((owner["name"] for owner in owners if owner.get("controller")), "")


def role_of(labels: Mapping[str, str]) -> str:
    """Flagger's copies are called ROLE-primary and ROLE-canary."""
    name = labels.get(NAME_LABEL, "")
    return next((role for role in ROLES if name == role or name.startswith(f"{role}-")), SUPPORT)


def events_of(events: Sequence[Item], kind: str, name: str) -> tuple[Event, ...]:
    """What was written about an object, the newest last."""
    about = [
        _event(each)
        for each in events
        if (each["involvedObject"].get("kind"), each["involvedObject"].get("name")) == (kind, name)
    ]
    return tuple(sorted(about, key=lambda event: event.at_s))


def seconds_of(time: str | None) -> float:
    """0 where there is none."""
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def _event(event: Item) -> Event:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    at = next(filter(None, (*times, event["metadata"].get("creationTimestamp"))), None)
    count = series.get("count") or event.get("count") or 1
    return Event(event.get("reason", ""), event.get("message") or "", seconds_of(at), count)


def _asks(spec: Item) -> dict[str, float]:
    """The sums over the containers that run beside each other."""
    sums: dict[str, float] = {}
    for container in spec.get("containers", ()):
        for resource, amount in container.get("resources", {}).get("requests", {}).items():
            sums[resource] = sums.get(resource, 0.0) + number_of(amount)
    return sums


def _containers(spec: Item, status: Item) -> tuple[Container, ...]:
    kinds = (("initContainers", "initContainerStatuses", True), ("containers", "containerStatuses", False))
    made = []
    for specs, statuses, is_initial in kinds:
        by_name = {each["name"]: each for each in status.get(statuses, ())}
        made += [_container(each, by_name.get(each["name"], {}), is_initial) for each in spec.get(specs, ())]
    return tuple(made)


def _container(spec: Item, status: Item, is_initial: bool) -> Container:
    state = status.get("state", {})
    waiting = state.get("waiting", {})
    return Container(
        name=spec["name"],
        image=spec.get("image", ""),
        digest=status.get("imageID", "").rpartition("@")[2],
        is_ready=status.get("ready", False),
        is_started=status.get("started") or False,
        restarts=status.get("restartCount", 0),
        waits=waiting.get("reason", ""),
        message=waiting.get("message", ""),
        ended=_ended(state.get("terminated")),
        ended_before=_ended(status.get("lastState", {}).get("terminated")),
        memory_limit=spec.get("resources", {}).get("limits", {}).get("memory", ""),
        is_initial=is_initial,
    )


def _ended(terminated: Item | None) -> Ended | None:
    if terminated is None:
        return None
    return Ended(
        terminated.get("reason", ""),
        terminated.get("exitCode", 0),
        seconds_of(terminated.get("finishedAt")),
        (terminated.get("message") or "").strip(),
    )
