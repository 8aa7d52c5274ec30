"""An overlay of k8s/ on the local cluster: images by digest, smaller requests, and nothing else changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.errors import UserError
from ai102.kubernetes import secrets
from k8s.local import api, namespaces
from k8s.local.plan import CLIENT, ROOT, Plan
from k8s.local.waiting import until

NAMESPACE, LOGS = "ai102", "ai102-logs"
K8S = ROOT / "k8s"
# Of overlays that name a registry; the cluster's nodes ask their own for every host.
HOSTS = ("", "registry.example:5000/", "registry.internal:5000/")
# Of each container: two cores carry everything at once, since little of it works at the same time.
SMALL, OF_TRITON = {"cpu": "10m", "memory": "64Mi"}, {"cpu": "20m", "memory": "512Mi"}
# On two cores that do other work, too.
READY_WITHIN_S = 600.0
Object = dict[str, Any]


@dataclass(frozen=True)
class Site:
    """The cluster with images, and what is asked of it. `digests`: by the name that manifests give an image."""

    plan: Plan
    kubectl: Path
    digests: Mapping[str, str]
    secrets: Path

    def run(self, *words: str, text: str = "") -> str:
        return api.kubectl(self.plan, self.kubectl, *words, text=text)

    def get(self, path: str) -> Any:
        """An object of the API server; it must be there."""
        answer = api.get(self.plan, path)
        assert answer is not None, f"the API server has no {path}"
        return answer

    def items(self, kind: str, namespace: str = NAMESPACE, group: str = "api/v1") -> list[Object]:
        return list(self.get(f"/{group}/namespaces/{namespace}/{kind}")["items"])

    def pods(self, name: str, namespace: str = NAMESPACE) -> list[Object]:
        """The pods of a service of ours that nobody has asked to end."""
        selector = f"labelSelector=app.kubernetes.io%2Fname%3D{name}"
        pods = self.get(f"/api/v1/namespaces/{namespace}/pods?{selector}")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def make_namespace(self) -> None:
        """With the Secrets that the manifests name."""
        self.apply_text(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
        secrets.make(self.secrets, ("gateway", f"gateway.{NAMESPACE}.svc"))
        self.apply_text(secrets.manifests(self.secrets, NAMESPACE))

    def apply_text(self, text: str) -> None:
        api.apply(self.plan, self.kubectl, text)

    def apply(
        self,
        overlay: str,
        components: Sequence[str] = (),
        literals: Mapping[str, Mapping[str, str]] | None = None,
        of_triton: Mapping[str, str] = OF_TRITON,
    ) -> None:
        """Strictly: a field that the API server does not know fails. First as a dry run of it, then for good.

        `literals`: what keys of ConfigMaps have here.
        """
        folder = self.plan.folder / "manifests" / "-".join(["of", overlay, *components])
        document = kustomization(folder, self.digests, overlay, components, literals or {}, of_triton)
        artifact.write_text(folder / "kustomization.yaml", json.dumps(document, indent=1))
        # Objects of a namespace can be judged only where it is.
        documents = self.run("kustomize", str(folder))
        options = ("--server-side", "--force-conflicts", f"--field-manager={api.FIELD_MANAGER}", "--validate=strict")
        self.run("apply", *options, "-f", "-", text=namespaces_of(documents))
        self.run("apply", *options, "--dry-run=server", "-f", "-", text=documents)
        self.run("apply", *options, "-f", "-", text=documents)

    def wait_rolled_out(self, within_s: float = READY_WITHIN_S) -> None:
        """Every pod of every workload is ready, and none of an earlier state is left. UserError says which is not."""
        try:
            until(lambda: not self.unfinished(), "every pod is ready", within_s)
        except UserError as err:
            waiting = [pod for name in (NAMESPACE, LOGS) for pod in api.pods(self.plan, name) if not pod.is_ready]
            reasons = "; ".join(f"{pod.name} ({pod.phase}): {pod.reason}" for pod in waiting)
            raise UserError(f"{err}; {', '.join(self.unfinished())}; {reasons}") from err

    def unfinished(self) -> list[str]:
        """The workloads that are not rolled out, or that not enough pods run of."""
        rows = []
        for namespace in (NAMESPACE, LOGS):
            for kind in ("deployments", "statefulsets", "daemonsets"):
                answer = api.get(self.plan, f"/apis/apps/v1/namespaces/{namespace}/{kind}")
                items = answer["items"] if answer else [{"metadata": {"name": kind}, "status": {}}]
                rows += [item["metadata"]["name"] for item in items if not is_rolled_out(item)]
        return rows

    def clear(self) -> None:
        """Remove the namespaces with everything in them, without waiting for calls in flight."""
        self.run("delete", "namespace", NAMESPACE, LOGS, "--ignore-not-found", "--wait=false")
        for namespace in (NAMESPACE, LOGS):
            self.run("delete", "pods", "--all", f"--namespace={namespace}", "--grace-period=1", "--wait=false")
        gone = [f"/api/v1/namespaces/{namespace}" for namespace in (NAMESPACE, LOGS)]
        until(lambda: all(api.get(self.plan, path) is None for path in gone), "the namespaces are gone", 120)

    @property
    def client(self) -> Path:
        """The network of a machine that is no node."""
        return namespaces.path_of(self.plan.namespace(CLIENT))


def kustomization(
    folder: Path,
    digests: Mapping[str, str],
    overlay: str,
    components: Sequence[str],
    literals: Mapping[str, Mapping[str, str]],
    of_triton: Mapping[str, str],
) -> Object:
    """The overlay as this cluster gets it; `folder` is where it will lie."""

    def place(kind: str, name: str) -> str:
        return os.path.relpath(K8S / kind / name, folder)

    settings = [
        patch(
            "ConfigMap",
            name,
            *({"op": "replace", "path": f"/data/{key}", "value": value} for key, value in values.items()),
        )
        for name, values in literals.items()
    ]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [place("overlays", overlay)],
        "components": [place("components", name) for name in components],
        "patches": [*smaller(of_triton), *settings],
        "images": [
            {"name": f"{host}{name}", "newName": f"{host or 'docker.io/'}{name}", "digest": digest}
            for name, digest in digests.items()
            for host in HOSTS
        ],
    }


def smaller(of_triton: Mapping[str, str]) -> list[Object]:
    """Patches that lower what containers ask for; limits stay."""
    return [
        patch("Deployment|StatefulSet|DaemonSet", ".*", requests(0, SMALL)),
        patch("DaemonSet", "logs", requests(1, SMALL)),
        patch("Deployment", "triton", requests(0, of_triton)),
    ]


def requests(container: int, value: Mapping[str, str]) -> Object:
    path = f"/spec/template/spec/containers/{container}/resources/requests"
    return {"op": "replace", "path": path, "value": value}


def patch(kind: str, name: str, *operations: Object) -> Object:
    return {"target": {"kind": kind, "name": name}, "patch": json.dumps(operations)}


def namespaces_of(documents: str) -> str:
    """Of manifests the Namespaces alone."""
    parts = documents.split("\n---\n")
    return "\n---\n".join(part for part in parts if "\nkind: Namespace\n" in f"\n{part}\n")


def is_rolled_out(item: Object) -> bool:
    """Whether a Deployment, StatefulSet or DaemonSet of the API is what its manifest wants."""
    status, metadata = item["status"], item["metadata"]
    if status.get("observedGeneration") != metadata.get("generation"):
        return False
    if "desiredNumberScheduled" in status:
        wanted = status["desiredNumberScheduled"]
        return bool(wanted) and wanted == status.get("numberReady") == status.get("updatedNumberScheduled")
    wanted = item["spec"]["replicas"]
    counts = {status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas")}
    return counts == {wanted}
