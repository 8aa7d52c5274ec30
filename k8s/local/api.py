"""The API server asked from the client's machine: JSON by HTTP for looks, kubectl for changes."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102.errors import UserError
from k8s.local import namespaces
from k8s.local.plan import API_PORT, CLIENT, CONTROL, Plan

TIMEOUT_S = 5.0
FIELD_MANAGER = "ai102-cluster"


@dataclass(frozen=True)
class Node:
    name: str
    is_ready: bool
    reason: str  # why it is not, as its condition says


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    node: str
    phase: str
    is_ready: bool
    reason: str  # why it is not ready, as its first waiting container or its condition says
    restarts: int

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more: it has done its work, or another takes its place."""
        return self.phase in ("Succeeded", "Evicted", "Terminating")


def get(plan: Plan, path: str) -> Any:
    """The answer to GET: an object, or text where it is no JSON. None when it does not answer with 200."""

    def ask() -> Any:
        context = ssl.create_default_context(cafile=str(plan.pki / "ca.crt"))
        context.load_cert_chain(plan.pki / "admin.crt", plan.pki / "admin.key")
        connection = http.client.HTTPSConnection(CONTROL.address, API_PORT, timeout=TIMEOUT_S, context=context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if answer.status != http.client.OK:
            return None
        is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
        return json.loads(content) if is_json else content.decode()

    if not namespaces.exists(plan.namespace(CLIENT)):
        return None
    return namespaces.inside(namespaces.path_of(plan.namespace(CLIENT)), ask)


def is_ready(plan: Plan) -> bool:
    """Whether it is ready and has made the namespace of the cluster's own pods, which it makes only then."""
    return get(plan, "/readyz") is not None and get(plan, "/api/v1/namespaces/kube-system") is not None


def nodes(plan: Plan) -> list[Node]:
    answer = get(plan, "/api/v1/nodes")
    return [node_from(item) for item in answer["items"]] if answer else []


def pods(plan: Plan, namespace: str = "") -> list[Pod]:
    """The pods of one namespace, or of all."""
    answer = get(plan, f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods")
    return [pod_from(item) for item in answer["items"]] if answer else []


def is_rolled_out(plan: Plan, namespace: str) -> bool:
    """Whether all that a namespace's Deployments and DaemonSets want is there, of their newest state, and ready."""
    answers = [get(plan, f"/apis/apps/v1/namespaces/{namespace}/{kind}") for kind in ("deployments", "daemonsets")]
    return all(answer is not None and all(map(is_complete, answer["items"])) for answer in answers)


def is_complete(item: dict[str, Any]) -> bool:
    """Of a Deployment or DaemonSet of the API: whether its newest state is observed, everywhere, and ready."""
    status = item.get("status", {})
    if status.get("observedGeneration") != item["metadata"]["generation"]:
        return False
    if "replicas" in item["spec"]:
        wanted = item["spec"]["replicas"]
        counts = [status.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "replicas")]
    else:
        wanted = status.get("desiredNumberScheduled", 0)
        counts = [status.get(name, 0) for name in ("updatedNumberScheduled", "numberReady")]
    return counts == [wanted] * len(counts)


def node_from(item: dict[str, Any]) -> Node:
    """From a Node of the API."""
    conditions = {condition["type"]: condition for condition in item["status"].get("conditions", [])}
    ready: dict[str, str] = conditions.get("Ready", {})
    problems = [name for name, condition in conditions.items() if name != "Ready" and condition["status"] == "True"]
    reason = ", ".join([*problems, ready.get("message", "")]) if problems else ready.get("message", "no status yet")
    return Node(item["metadata"]["name"], ready.get("status") == "True", reason)


def pod_from(item: dict[str, Any]) -> Pod:
    """From a Pod of the API."""
    metadata, status = item["metadata"], item["status"]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    ready: dict[str, Any] = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {})
    waiting = [each["state"]["waiting"] for each in containers if "waiting" in each.get("state", {})]
    reasons = [": ".join(filter(None, (each.get("reason"), each.get("message")))) for each in waiting]
    unscheduled = [each.get("message", "") for each in status.get("conditions", []) if each.get("status") == "False"]
    phase = status.get("phase", "Unknown")
    if status.get("reason") == "Evicted":
        phase = "Evicted"
    elif "deletionTimestamp" in metadata:
        phase = "Terminating"
    return Pod(
        metadata["namespace"],
        metadata["name"],
        item["spec"].get("nodeName", ""),
        phase,
        ready.get("status") == "True",
        next(iter([*reasons, *filter(None, unscheduled)]), ""),
        sum(each.get("restartCount", 0) for each in containers),
    )


def kubectl_command(plan: Plan, program: Path, arguments: Sequence[str]) -> list[str]:
    """kubectl in the client's machine, where alone the API server has an address."""
    options = [f"--kubeconfig={plan.kubeconfig}", f"--cache-dir={plan.folder / 'kubectl'}"]
    return namespaces.command_in(plan.namespace(CLIENT), [str(program), *options, *arguments])


def kubectl(plan: Plan, program: Path, *arguments: str, text: str = "") -> str:
    """What kubectl prints. Raises UserError with its complaint."""
    command = kubectl_command(plan, program, arguments)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def apply(plan: Plan, program: Path, text: str) -> None:
    """Apply manifests on the server's side, as one owner. Raises UserError."""
    options = ["--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}"]
    kubectl(plan, program, "apply", *options, "-f", "-", text=text)
