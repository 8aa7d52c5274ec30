"""The facts of a namespace from the API's JSON: workloads, nodes, budgets, scaling, claims, quotas, certificates."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ai102.cluster.facts import (
    Budget,
    Certificate,
    Claim,
    Condition,
    Facts,
    Issued,
    Metric,
    Node,
    Quota,
    Scaled,
    Scaler,
    Workload,
)
from ai102.cluster.pods import Item, events_of, name_of, pods_from, role_of
from ai102.cluster.quantities import number_of

# The keys under which a Secret may hold the gateway's certificate.
CERTIFICATE_KEYS = ("tls.crt", "tls-combined.pem")
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def facts_from(items: Sequence[Item], **known: Any) -> Facts:
    """`items` are objects of any kind, also of no interest; `known` are the other fields of Facts."""
    kinds: dict[str, list[Item]] = {}
    for item in items:
        kinds.setdefault(item["kind"], []).append(item)

    def of(kind: str) -> list[Item]:
        return sorted(kinds.get(kind, ()), key=name_of)

    events = of("Event")
    secrets = [certificate for each in of("Secret") if (certificate := certificate_from(each))]
    return Facts(
        pods=pods_from(of("Pod"), of("ReplicaSet"), events),
        workloads=tuple(workload_from(each, events) for kind in WORKLOADS for each in of(kind)),
        nodes=tuple(node_from(each) for each in of("Node")),
        budgets=tuple(_budget(each, of("Pod")) for each in of("PodDisruptionBudget")),
        scalers=tuple(_scaler(each) for each in of("HorizontalPodAutoscaler")),
        scaled=tuple(_scaled(each) for each in of("ScaledObject")),
        claims=tuple(
            Claim(name_of(each), each["status"].get("phase", ""), events_of(events, each["kind"], name_of(each)))
            for each in of("PersistentVolumeClaim")
        ),
        quotas=tuple(
            Quota(name_of(each), each.get("status", {}).get("hard", {}), each.get("status", {}).get("used", {}))
            for each in of("ResourceQuota")
        ),
        certificate=next(iter(secrets), None),
        issued=tuple(_issued(each) for each in of("Certificate")),
        **known,
    )


def workload_from(item: Item, events: Sequence[Item]) -> Workload:
    metadata, spec, status = item["metadata"], item["spec"], item.get("status", {})
    template = spec["template"]["metadata"].get("labels", {})
    conditions = {each.kind: each for each in conditions_of(item)}
    progressing, failure = conditions.get("Progressing"), conditions.get("ReplicaFailure")
    is_stuck = progressing is not None and progressing.reason == "ProgressDeadlineExceeded"
    refused = failure.message if failure and failure.is_true else ""
    wanted = status.get("desiredNumberScheduled", spec.get("replicas", 0))
    ready = status.get("readyReplicas", status.get("numberReady", 0))
    if item["kind"] != "Deployment" and ready < wanted:  # these have no such condition
        created = [each for each in events_of(events, item["kind"], name_of(item)) if each.reason == "FailedCreate"]
        refused = created[-1].message if created else ""
    return Workload(
        kind=item["kind"],
        name=name_of(item),
        role=role_of(template),
        version=metadata.get("labels", {}).get("app.kubernetes.io/version", ""),
        wanted=wanted,
        ready=ready,
        updated=status.get("updatedReplicas", status.get("updatedNumberScheduled", 0)),
        stuck=progressing.message if progressing and is_stuck else "",
        refused=refused,
    )


def node_from(item: Item) -> Node:
    conditions = {each.kind: each for each in conditions_of(item)}
    ready = conditions.get("Ready", Condition("Ready", False, message="it has no status yet"))
    return Node(
        name=name_of(item),
        is_ready=ready.is_true,
        message="" if ready.is_true else ready.message,
        pressures=tuple(kind for kind in PRESSURES if kind in conditions and conditions[kind].is_true),
        is_cordoned=item["spec"].get("unschedulable", False),
        version=item["status"].get("nodeInfo", {}).get("kubeletVersion", ""),
        room={name: number_of(amount) for name, amount in item["status"].get("allocatable", {}).items()},
    )


def certificate_from(secret: Item) -> Certificate | None:
    """The end and the names of the certificate; the key beside it is not kept. None where there is no certificate."""
    from cryptography import x509

    for key in CERTIFICATE_KEYS:
        text = base64.b64decode(secret.get("data", {}).get(key, ""))
        if block := re.search(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL):
            certificate = x509.load_pem_x509_certificate(block.group())
            try:
                extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            except x509.ExtensionNotFound:
                names: list[str] = []
            else:
                names = extension.value.get_values_for_type(x509.DNSName)
            return Certificate(name_of(secret), certificate.not_valid_after_utc.timestamp(), tuple(names))
    return None


def conditions_of(item: Item) -> list[Condition]:
    """Those that the object has, in its order."""
    return [
        Condition(each["type"], each["status"] == "True", each.get("reason") or "", each.get("message") or "")
        for each in item.get("status", {}).get("conditions") or ()
    ]


def _budget(item: Item, pods: Sequence[Item]) -> Budget:
    labels, status = item["spec"].get("selector", {}).get("matchLabels", {}), item.get("status", {})
    protected = [name_of(pod) for pod in pods if labels.items() <= pod["metadata"].get("labels", {}).items()]
    return Budget(
        name_of(item),
        status.get("disruptionsAllowed", 0),
        status.get("currentHealthy", 0),
        status.get("desiredHealthy", 0),
        tuple(protected),
    )


def _scaler(item: Item) -> Scaler:
    spec, status = item["spec"], item.get("status", {})
    now = [_metric(each) for each in status.get("currentMetrics") or ()]
    targets = [_metric(each) for each in spec.get("metrics") or ()]
    current = {name: value for name, value in now if name}
    return Scaler(
        name_of(item),
        spec["scaleTargetRef"]["name"],
        spec.get("minReplicas", 1),
        spec["maxReplicas"],
        status.get("currentReplicas", 0),
        status.get("desiredReplicas", 0),
        tuple(Metric(name, current.get(name, ""), target) for name, target in targets),
        tuple(conditions_of(item)),
    )


def _metric(metric: Item) -> tuple[str, str]:
    """The name of a metric of any type, and its target or its value as written."""
    body: Mapping[str, Any] = next((body for body in metric.values() if isinstance(body, dict)), {})
    name = body.get("name") or body.get("metric", {}).get("name", "")
    values = body.get("current") or body.get("target") or {}
    percent = values.get("averageUtilization")
    return name, f"{percent} %" if percent is not None else str(values.get("averageValue", values.get("value", "")))


def _scaled(item: Item) -> Scaled:
    triggers = [each.get("name") or each["type"] for each in item["spec"].get("triggers", ())]
    return Scaled(name_of(item), item["spec"]["scaleTargetRef"]["name"], tuple(conditions_of(item)), tuple(triggers))


def _issued(item: Item) -> Issued:
    ready = next((each for each in conditions_of(item) if each.kind == "Ready"), None)
    return Issued(name_of(item), ready is not None and ready.is_true, ready.message if ready else "")
