"""Brings the cluster to the start of a run: one policy applied, the fewest replicas ready, the autoscaler at work."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ai102.errors import UserError
from loadtest.scaling import policies
from loadtest.scaling.kubectl import NAMESPACE, Kubectl
from loadtest.scaling.policies import Policy, Setting

WITHIN_S = 300.0
LOOK_EVERY_S = 0.5
USER = "scaling"
RULES = Path(__file__).parents[2] / "monitoring" / "rules"


def apply(kubectl: Kubectl, applying: Sequence[str], policy: Policy, setting: Setting) -> None:
    """Apply a policy and wait until its fewest replicas are ready. `applying`: a command that takes a folder.

    Raises UserError that says what did not come true.
    """
    for kind in ("scaledobject", "horizontalpodautoscaler"):
        if any(resource.startswith(kind) for resource in _kinds(kubectl)):
            kubectl.run("delete", kind, "triton", "-n", NAMESPACE, "--ignore-not-found")
    folder = policies.write(policy, setting)
    done = subprocess.run([*applying, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join([*applying, str(folder)])}: {done.stderr.strip()}")
    fewest = policy.replicas if policy.kind == "fixed" else setting.thresholds.min_replicas
    kubectl.run("scale", "deployment", "triton", "-n", NAMESPACE, f"--replicas={fewest}")
    wait(lambda: are_settled(kubectl, fewest), f"{fewest} replicas are ready, and no other is there")
    if policy.kind != "fixed":
        wait(lambda: is_scaling(kubectl), f"the autoscaler of {policy} has its metrics")


def are_settled(kubectl: Kubectl, count: int) -> bool:
    """Whether there are so many replicas, each of the present release and ready, and every gateway is ready."""
    replicas = kubectl.pods("triton")
    hashes = {pod["metadata"]["labels"]["pod-template-hash"] for pod in replicas}
    return len(replicas) == count and len(hashes) == 1 and all(map(is_ready, [*replicas, *kubectl.pods("gateway")]))


def is_ready(pod: dict[str, object]) -> bool:
    status = pod["status"]
    assert isinstance(status, dict)
    return any(row["type"] == "Ready" and row["status"] == "True" for row in status.get("conditions", []))


def is_scaling(kubectl: Kubectl) -> bool:
    items = kubectl.get(f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers")["items"]
    conditions = [row for item in items for row in item.get("status", {}).get("conditions", [])]
    return any(row["type"] == "ScalingActive" and row["status"] == "True" for row in conditions)


def give_rules(kubectl: Kubectl) -> None:
    """Give Prometheus in the namespace monitoring the rules of monitoring/, and start it anew with them."""
    files = [f"--from-file={file}" for file in sorted(RULES.glob("*.yaml"))]
    words = ["create", "configmap", "prometheus-rules", "-n", "monitoring", *files, "--dry-run=client", "-o", "json"]
    kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", text=kubectl.run(*words))
    kubectl.run("rollout", "restart", "deployment", "prometheus", "-n", "monitoring")
    wait(
        lambda: len(pods := kubectl.pods("prometheus", "monitoring")) == 1 and is_ready(pods[0]),
        "Prometheus is ready with its rules",
    )


def token(kubectl: Kubectl) -> str:
    """An access token of a caller of our own, made anew in the issuer's pod."""
    inside = ["exec", "--stdin", "-n", NAMESPACE, "deploy/issuer", "--", "python3", "-m", "ai102", "auth"]
    name = f"{USER}-{secrets.token_hex(4)}"
    kubectl.run(*inside, "user", "add", name, "--role", "caller", text=f"{secrets.token_urlsafe(24)}\n")
    return kubectl.run(*inside, "token", name).strip()


def prometheus_url(kubectl: Kubectl) -> str:
    """By the address of its pod, which callers inside the cluster's network reach."""
    (pod,) = kubectl.pods("prometheus", "monitoring")
    return f"http://{pod['status']['podIP']}:9090"


def wait(holds: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Raises UserError when it does not hold in time."""
    ends = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > ends:
            raise UserError(f"not within {within_s:g} s: {what}")
        time.sleep(LOOK_EVERY_S)


def _kinds(kubectl: Kubectl) -> list[str]:
    return kubectl.run("api-resources", "--no-headers", "--output=name").split()
