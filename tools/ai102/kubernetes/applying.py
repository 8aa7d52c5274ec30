"""An overlay applied with the digests of pushed images; an image that was not pushed stays the one that runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.cluster.asking import Kubectl
from ai102.errors import UserError
from ai102.release.references import printed, without_tag

NAMESPACE = "ai102"  # that the manifests name
FIELD_MANAGER = "ai102-apply"
WORKLOADS = "deployments.apps,statefulsets.apps,daemonsets.apps"
# `image:` of a container, `reference:` of a volume, which kustomize of kubectl before 1.35 leaves as it is.
IMAGE = re.compile(
    r"^(?P<field>[ -]*(?:image|reference): )\"?(?P<name>\S*?\bai102/[a-z-]+)(?:[:@][^\s\"]*)?\"?$", re.MULTILINE
)
REPLICAS = re.compile(r"(?m)^(  replicas: )\d+$")
# Flagger's copy has what callers get; what an overlay names is the Deployment that it was copied from.
COPY = "-primary"


class NotRolledOutError(UserError):
    """Pods were not ready in time."""

    exit_status = 4


@dataclass(frozen=True)
class Overlay:
    """`folder` is of k8s/overlays; what is written for the cluster lies in `build`."""

    folder: Path
    namespace: str
    build: Path

    def text(self, kubectl: Kubectl) -> str:
        """The manifests, with the images that they name. Raises UserError with kustomize's complaint."""
        document = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(self.folder, self.build)],
            **({"namespace": self.namespace} if self.namespace != NAMESPACE else {}),
        }
        artifact.write_text(self.build / "kustomization.yaml", json.dumps(document, indent=1) + "\n")
        done = kubectl.run("kustomize", str(self.build))
        if done.returncode:
            raise UserError(f"{self.folder}: {done.stderr.strip()}")
        return elsewhere(done.stdout, self.namespace)


def elsewhere(text: str, namespace: str) -> str:
    """The manifests for another namespace: kustomize changes fields, and no names of hosts inside of texts."""
    return re.sub(rf"\.{NAMESPACE}(?=\.svc\b|:\d)", f".{namespace}", text)


def with_replicas(manifests: str, workloads: Collection[Mapping[str, Any]]) -> str:
    """The manifests, with as many replicas as run where Flagger leads: there are none while nothing is on trial."""
    runs = {item["metadata"]["name"]: item["spec"].get("replicas", 1) for item in workloads}
    documents = manifests.split("\n---\n")
    for number, text in enumerate(documents):
        name = next((name for name in runs if f"{name}{COPY}" in runs and _is_workload(text, name)), None)
        if name is not None:
            documents[number] = REPLICAS.sub(rf"\g<1>{runs[name]}", text)
    return "\n---\n".join(documents)


def _is_workload(text: str, name: str) -> bool:
    return re.search(r"(?m)^kind: Deployment$", text) is not None and f"\n  name: {name}\n" in text


def pushed_in(files: Collection[Path]) -> dict[str, str]:
    """What `ai102 image push` printed, by the image's own name, as ai102/server: NAME@sha256:..., the last one counts.

    Of a folder all files *.txt. Raises UserError for a file that cannot be read.
    """
    found: dict[str, str] = {}
    for file in (each for place in files for each in (sorted(place.glob("*.txt")) if place.is_dir() else [place])):
        found |= {own_name(name): reference for name, reference in printed(file)}
    return found


def own_name(name: str) -> str:
    """Without the registry: ai102/server."""
    return "/".join(name.split("/")[-2:])


def names_in(manifests: str) -> set[str]:
    """Our images as manifests name them, without tag and digest."""
    return {match["name"] for match in IMAGE.finditer(manifests)}


def with_images(manifests: str, images: Mapping[str, str]) -> str:
    """The manifests with these images, by the names that they have there."""
    return IMAGE.sub(lambda match: f"{match['field']}{images.get(match['name'], match['name'])}", manifests)


def running(workloads: Collection[Mapping[str, Any]]) -> dict[str, str]:
    """By an image's own name, what workloads of the API have; of Flagger's copies nothing."""
    found: dict[str, str] = {}
    for item in workloads:
        if not item["metadata"]["name"].endswith(COPY):
            for image in _images(item["spec"]["template"]["spec"]):
                name, at, digest = image.partition("@")
                if at:
                    name = without_tag(name)
                    found[own_name(name)] = f"{name}@{digest}"
    return found


def chosen(
    names: Collection[str], pushed: Mapping[str, str], runs: Mapping[str, str], keep: Collection[str]
) -> dict[str, str]:
    """The image for each name of the manifests: the pushed one, else the one that runs; of `keep` the other way round.

    Raises UserError where there is neither.
    """
    images = {}
    for name in sorted(names):
        own = own_name(name)
        first, second = (runs, pushed) if own.rpartition("/")[2] in keep else (pushed, runs)
        image = first.get(own) or second.get(own)
        if image is None:
            raise UserError(
                f"{own} was not pushed, and none of it runs by digest there: "
                f"`ai102 image push REGISTRY {own.rpartition('/')[2]}`, and name what it printed by --pushed"
            )
        images[name] = image
    return images


def apply(kubectl: Kubectl, overlay: Overlay, pushed: Mapping[str, str], keep: Collection[str] = ()) -> dict[str, str]:
    """Apply the overlay and wait until all of it is ready; gives its images by their own names.

    Raises UserError when the cluster refuses it, NotRolledOutError when pods are not ready within kubectl's time.
    """
    manifests = overlay.text(kubectl)
    workloads = _workloads(kubectl)
    images = chosen(names_in(manifests), pushed, running(workloads), keep)
    file = overlay.build / "manifests.yaml"
    artifact.write_text(file, with_replicas(with_images(manifests, images), workloads))
    options = ("--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}")
    done = kubectl.run("apply", *options, "--filename", str(file))
    if done.returncode:
        raise UserError(f"kubectl apply: {done.stderr.strip()}")
    for item in _workloads(kubectl):
        if item["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == NAMESPACE:
            _wait(kubectl, f"{item['kind'].lower()}/{item['metadata']['name']}")
    return {own_name(name): image for name, image in images.items()}


def _wait(kubectl: Kubectl, workload: str) -> None:
    done = kubectl.run("rollout", "status", workload, f"--timeout={kubectl.timeout_s:g}s")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["it does not say why"])[-1]
        raise NotRolledOutError(
            f"{workload} is not ready within {kubectl.timeout_s:g} s ({said}): "
            f"`ai102 cluster status --namespace {kubectl.namespace}` says what is wrong"
        )


def _workloads(kubectl: Kubectl) -> list[dict[str, Any]]:
    """Of the namespace; none where it is not there yet. Raises UserError."""
    done = kubectl.run("get", WORKLOADS, "--output=json")
    if done.returncode:
        raise UserError(f"kubectl get: {done.stderr.strip()}: {kubectl.advice}")
    return list(json.loads(done.stdout)["items"])


def _images(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        yield container["image"]
    for volume in pod.get("volumes", ()):
        if "image" in volume:
            yield volume["image"]["reference"]
