"""The Deployment that serves: which images it has where, which release that is, and how far its rollout has come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ai102.errors import UserError
from ai102.release.canary import AT_REST, FAILED, Canary

NAME = "triton"
PRIMARY = "triton-primary"  # where Flagger leads releases: what callers have
CONTAINER = "triton"
MODELS_VOLUME = "models"
MODELS_COPY = "copy-models"  # the init container of k8s/components/model-copy
# Of the pod template, so that `kubectl rollout undo` brings it back with the images.
RELEASE = "ai102.example/release"
# Of the Deployment: what ran when the last promotion began, so that an abort needs nothing but the cluster.
BEFORE = "ai102.example/before"
# With a Canary. Of the Deployment: the Canary's verdict when a release was asked for, which is none of that release.
VERDICT = "ai102.example/verdict-before"
# Of the pod template: Flagger begins with what is not as it was, also where the same release is asked for again.
ASKED = "ai102.example/asked-at"
STUCK = "ProgressDeadlineExceeded"

Operation = dict[str, Any]


@dataclass(frozen=True)
class Running:
    """Two images, by the references in the Deployment; `release` is empty where nothing says which one it is."""

    release: str
    server: str
    models: str

    @property
    def images(self) -> tuple[str, str]:
        return self.server, self.models


@dataclass(frozen=True)
class Deployment:
    """`servers` and `copies` are JSON pointers to the places of the server image and of the models image.

    `template` is what its pod template has, and so what is `running`, or on its way while the rollout is not done.
    Where Flagger has refused that, `running` is what callers have. Where a Canary leads, `primary` has their pods.
    """

    uid: str
    template: Running
    running: Running
    before: Running | None
    servers: tuple[str, ...]
    copies: tuple[str, ...]
    has_before: bool
    has_annotations: bool
    has_template_annotations: bool
    is_paused: bool
    progress: Progress
    asked_at: str = ""
    verdict_before: str = ""
    canary: Canary | None = None
    primary: Deployment | None = None
    is_refused: bool = False

    @property
    def is_unseen(self) -> bool:
        """Whether a way back was ended before Flagger could follow, which begins with nothing that it has seen."""
        return self.canary is not None and self.canary.is_skipping and self.canary.has_no_calls


@dataclass(frozen=True)
class Progress:
    """Pods of a rollout: `updated` are of the newest template, `others` of those before, `available` of all."""

    is_done: bool
    wanted: int
    updated: int
    others: int
    available: int
    stuck: str = ""
    canary: str = ""  # how far Flagger has come, in words

    @property
    def words(self) -> str:
        if self.canary:
            return self.canary
        others = f", and {self.others} that ran before go on" if self.others else ""
        return f"{self.updated} of {self.wanted} pods are of it{others}; {self.available} of all are ready"


def deployment_from(item: Mapping[str, Any]) -> Deployment:
    """Raises UserError where it takes its models from something else than an image."""
    metadata, template = item["metadata"], item["spec"]["template"]
    pod, annotations = template["spec"], metadata.get("annotations") or {}
    images = _images(pod)
    server = images.get(_pointer(pod, "containers", CONTAINER), "")
    volume = _pointer(pod, "volumes", MODELS_VOLUME)
    models = images.get(f"{volume}/reference", "") or images.get(_pointer(pod, "initContainers", MODELS_COPY), "")
    if not server or not models:
        lacks = f"container {CONTAINER}" if not server else "models image: it takes its models from elsewhere"
        raise UserError(f"Deployment {NAME} has no {lacks}; a release pins both images: apply an overlay with them")
    own = (template.get("metadata") or {}).get("annotations") or {}
    running = Running(own.get(RELEASE, ""), server, models)
    return Deployment(
        uid=metadata["uid"],
        template=running,
        running=running,
        before=_before(annotations.get(BEFORE, "")),
        servers=tuple(place for place, image in images.items() if image == server),
        copies=tuple(place for place, image in images.items() if image == models),
        has_before=BEFORE in annotations,
        has_annotations=bool(annotations),
        has_template_annotations=bool(own),
        is_paused=bool(item["spec"].get("paused")),
        progress=_progress(item),
        asked_at=own.get(ASKED, ""),
        verdict_before=annotations.get(VERDICT, ""),
    )


def led_by(canary: Canary, deployment: Deployment, primary: Deployment) -> Deployment:
    """The Deployment as callers see it: its own pods are on trial, and it is copied to `primary` when they pass."""
    led = replace(deployment, canary=canary, primary=primary, is_paused=deployment.is_paused or primary.is_paused)
    if canary.phase == FAILED and canary.since != deployment.verdict_before:
        # Where the rollout of a release that had passed failed, its pods of the trial have all calls.
        running = deployment.template if canary.weight == 100 else primary.running
        return replace(led, running=running, progress=primary.progress, is_refused=True)
    is_copied = (deployment.template, deployment.asked_at) == (primary.template, primary.asked_at)
    if canary.phase in AT_REST and is_copied:
        return replace(led, progress=primary.progress)
    if canary.phase in AT_REST and not primary.progress.is_done:  # it is on its way back
        return replace(led, before=deployment.template, progress=primary.progress)
    progress = replace(primary.progress, is_done=False, stuck="", canary=canary.words)
    return replace(led, before=primary.running, progress=progress)


def patch_from(deployment: Deployment, to: Running, before: Running | None, asked_at: str = "") -> list[Operation]:
    """One JSON patch (RFC 6902) for both images and the annotations; `asked_at` is for a Deployment with a Canary.

    It is refused as a whole where the images are no longer those that `deployment` has.
    """
    places = [(each, deployment.template.server, to.server) for each in deployment.servers]
    places += [(each, deployment.template.models, to.models) for each in deployment.copies]
    operations: list[Operation] = [{"op": "test", "path": "/metadata/uid", "value": deployment.uid}]
    operations += [{"op": "test", "path": path, "value": old} for path, old, _ in places]
    operations += [{"op": "replace", "path": path, "value": new} for path, _, new in places]
    verdict = deployment.canary.since if deployment.canary else ""
    own = {
        BEFORE: (json.dumps(asdict(before)) if before else "", deployment.has_before),
        VERDICT: (verdict, bool(deployment.verdict_before)),
    }
    pods = {
        RELEASE: (to.release, bool(deployment.template.release)),
        ASKED: (asked_at, bool(deployment.asked_at)),
    }
    operations += _annotations("/metadata", own, deployment.has_annotations)
    return operations + _annotations("/spec/template/metadata", pods, deployment.has_template_annotations)


def _annotations(path: str, values: Mapping[str, tuple[str, bool]], has_some: bool) -> list[Operation]:
    """`values` are each annotation's value, empty to remove it, and whether it is there."""
    operations: list[Operation] = []
    for key, (value, has_it) in values.items():
        place = f"{path}/annotations/{key.replace('~', '~0').replace('/', '~1')}"
        if value:
            operations.append({"op": "add", "path": place, "value": value})
        elif has_it:
            operations.append({"op": "remove", "path": place})
    if operations and not has_some:
        operations.insert(0, {"op": "add", "path": f"{path}/annotations", "value": {}})
    return operations


def _images(pod: Mapping[str, Any]) -> dict[str, str]:
    """The reference of every container and image volume, by the JSON pointer to it."""
    images = {
        f"/spec/template/spec/{kind}/{number}/image": each.get("image", "")
        for kind in ("initContainers", "containers")
        for number, each in enumerate(pod.get(kind) or ())
    }
    volumes = enumerate(pod.get("volumes") or ())
    return images | {
        f"/spec/template/spec/volumes/{number}/image/reference": each["image"].get("reference", "")
        for number, each in volumes
        if each.get("image")
    }


def _pointer(pod: Mapping[str, Any], kind: str, name: str) -> str:
    number = next((number for number, each in enumerate(pod.get(kind) or ()) if each["name"] == name), -1)
    return f"/spec/template/spec/{kind}/{number}/image"


def _before(text: str) -> Running | None:
    """None where the annotation is absent, or not as it was written."""
    try:
        return Running(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _progress(item: Mapping[str, Any]) -> Progress:
    """As `kubectl rollout status` decides it."""
    status, wanted = item.get("status") or {}, item["spec"].get("replicas", 1)
    is_seen = status.get("observedGeneration", 0) >= item["metadata"].get("generation", 0)
    updated = status.get("updatedReplicas", 0) if is_seen else 0
    total, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    progressing = conditions.get("Progressing", {})
    is_stuck = is_seen and progressing.get("reason") == STUCK
    return Progress(
        is_done=is_seen and updated >= wanted and total <= updated <= available,
        wanted=wanted,
        updated=updated,
        others=max(total - updated, 0),
        available=available,
        stuck=progressing.get("message", "") if is_stuck else "",
    )
