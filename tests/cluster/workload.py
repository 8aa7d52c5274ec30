"""A small workload: CoreDNS, which answers HTTP too, as three replicas behind a Service; two pods that only wait."""

import json
from typing import Any

NAMESPACE = "probe"
PORT = 8080
NODE_PORT = 30080
COREFILE = ".:1053 {\n    health :8080 {\n        lameduck 2s\n    }\n    ready :8181\n}\n"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def manifests(answerer: str, waiter: str) -> str:
    """All of it as one JSON document; the images by digest."""
    items = [namespace(), configuration(), deployment(answerer), service(), *(pod(name, waiter) for name in FRIENDS)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


FRIENDS = ("friend", "stranger")


def namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def configuration() -> dict[str, Any]:
    data = {"Corefile": COREFILE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _named("answer"), "data": data}


def deployment(image: str) -> dict[str, Any]:
    container = {
        "name": "answer",
        "image": image,
        "args": ["-conf", "/etc/answer/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "configuration", "mountPath": "/etc/answer"}],
    }
    spread = {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "answer"}},
    }
    spec = {
        "containers": [container],
        "topologySpreadConstraints": [spread],
        "volumes": [{"name": "configuration", "configMap": {"name": "answer"}}],
    }
    template = {"metadata": {"labels": {"app": "answer"}}, "spec": spec}
    selector = {"matchLabels": {"app": "answer"}}
    body = {"replicas": 3, "selector": selector, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _named("answer"), "spec": body}


def service() -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": PORT, "nodePort": NODE_PORT}]
    spec = {"type": "NodePort", "selector": {"app": "answer"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _named("answer"), "spec": spec}


def pod(name: str, image: str) -> dict[str, Any]:
    container = {"name": "wait", "image": image, "securityContext": RESTRICTED}
    metadata = {**_named(name), "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def reader(image: str, mounted: str) -> dict[str, Any]:
    """A pod that has the files of another image at /models."""
    document = pod("reader", image)
    document["spec"]["containers"][0]["volumeMounts"] = [{"name": "models", "mountPath": "/models"}]
    document["spec"]["volumes"] = [{"name": "models", "image": {"reference": mounted, "pullPolicy": "IfNotPresent"}}]
    return document


def only_friends() -> str:
    """The answering pods are reached by the friend alone."""
    source = {"podSelector": {"matchLabels": {"app": "friend"}}}
    spec = {
        "podSelector": {"matchLabels": {"app": "answer"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [source]}],
    }
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return json.dumps({**kind, "metadata": _named("only-friends"), "spec": spec})


def _named(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE}
