"""The policies that are compared, each as a kustomization over the overlay dev."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from ai102.kubernetes.scaling import Thresholds, autoscaler_patch, scaled_object_patch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "scaling"
GATEWAY_PORT = 30081
KINDS = ("keda", "hpa-adapter", "cpu", "fixed")
# The guide's: Kubernetes' own HPA by processor, with its defaults.
CPU_PERCENT = 70


@dataclass(frozen=True)
class Policy:
    """What decides on the number of replicas; `replicas` of them, where it is fixed."""

    kind: str
    replicas: int = 0

    def __str__(self) -> str:
        return f"fixed:{self.replicas}" if self.kind == "fixed" else self.kind


@dataclass(frozen=True)
class Setting:
    """What every policy of a comparison has in common."""

    thresholds: Thresholds
    cpu_millicores: int  # the limit of a replica
    request_millicores: int
    models: tuple[str, ...]  # that a replica loads; none: all of the repository
    # How long fewer replicas must be wanted until one goes, and how often one may go. Of a trace that is compressed in
    # time, a minute is less.
    down_after_s: int
    down_every_s: int


def policy_named(text: str) -> Policy:
    """keda, hpa-adapter, cpu, or fixed:N. Raises UserError."""
    kind, _, number = text.partition(":")
    if kind not in KINDS or (kind == "fixed") != number.isdecimal():
        raise UserError(f'there is no policy "{text}": write keda, hpa-adapter, cpu or fixed:N')
    return Policy(kind, int(number or 0))


def write(policy: Policy, setting: Setting, folder: Path = FOLDER) -> Path:
    """The folder with its kustomization, for `kubectl apply -k`."""
    target = folder / str(policy).replace(":", "-")
    target.mkdir(parents=True, exist_ok=True)
    own = {"gateway-by-port.service.yaml": gateway_service()}
    if policy.kind == "cpu":
        own["triton.horizontalpodautoscaler.yaml"] = cpu_autoscaler(setting.thresholds)
    for name, document in own.items():
        (target / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [_relative(ROOT / "k8s/overlays/dev", target), *own],
        "components": [
            _relative(ROOT / "k8s/components" / name, target) for name in ("keda", "hpa-adapter") if name == policy.kind
        ],
        "patches": [{"patch": patch} for patch in patches(policy, setting)],
    }
    (target / "kustomization.yaml").write_text(json.dumps(kustomization, indent=1) + "\n", encoding="utf-8")
    return target


def patches(policy: Policy, setting: Setting) -> list[str]:
    """Of the Deployment, and of what scales it."""
    down = {
        "stabilizationWindowSeconds": setting.down_after_s,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": setting.down_every_s}],
    }
    written = [json.dumps(deployment_patch(policy, setting))]
    if policy.kind == "keda":
        behavior: dict[str, Any] = {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": down}}}
        scaled = {"kind": "ScaledObject", "apiVersion": "keda.sh/v1alpha1", **_named(), "spec": {"advanced": behavior}}
        written += [scaled_object_patch(setting.thresholds), json.dumps(scaled)]
    elif policy.kind == "hpa-adapter":
        kind = {"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2"}
        written += [
            autoscaler_patch(setting.thresholds),
            json.dumps({**kind, **_named(), "spec": {"behavior": {"scaleDown": down}}}),
        ]
    return written


def deployment_patch(policy: Policy, setting: Setting) -> dict[str, Any]:
    """The size of a replica, and how many there are where that is fixed."""
    container: dict[str, Any] = {
        "name": "triton",
        "resources": {
            "requests": {"cpu": f"{setting.request_millicores}m"},
            "limits": {"cpu": f"{setting.cpu_millicores}m"},
        },
    }
    if setting.models:
        words = ["--model-control-mode=explicit", *(f"--load-model={model}" for model in setting.models)]
        container["env"] = [{"name": "AI102_TRITON_ARGUMENTS", "value": " ".join(words)}]
    spec: dict[str, Any] = {"template": {"spec": {"containers": [container]}}}
    spec["replicas"] = policy.replicas if policy.kind == "fixed" else None
    return {"apiVersion": "apps/v1", "kind": "Deployment", **_named(), "spec": spec}


def cpu_autoscaler(thresholds: Thresholds) -> dict[str, Any]:
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton"},
        "minReplicas": thresholds.min_replicas,
        "maxReplicas": thresholds.max_replicas,
        "metrics": [metric],
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", **_named(), "spec": spec}


def gateway_service() -> dict[str, Any]:
    """The gateway at a port of every node: callers here are outside of the cluster's network of Services."""
    ports = [{"name": "grpc", "port": 8081, "targetPort": "grpc", "nodePort": GATEWAY_PORT}]
    spec = {"type": "NodePort", "selector": {"app.kubernetes.io/name": "gateway"}, "ports": ports}
    metadata = {"name": "gateway-by-port", "namespace": "ai102"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _named() -> dict[str, Any]:
    return {"metadata": {"name": "triton", "namespace": "ai102"}}


def _relative(path: Path, start: Path) -> str:
    return os.path.relpath(path, start)
