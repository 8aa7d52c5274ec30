"""Images of this project pushed to the cluster's registry, and remembered by digest for manifests that name them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ai102 import artifact
from ai102.errors import UserError
from ai102.images.docker import Docker, found_docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.images.layout import Image, read_image
from ai102.images.saved import saved_image
from k8s.local import manifests, registry
from k8s.local.plan import ROOT, Plan

MODELS = ROOT / "build" / "images" / "models"
SAVED = ROOT / "build" / "images" / "saved"


def load(plan: Plan, references: Sequence[str], say: Callable[[str], None]) -> None:
    """Push images of Docker's engine by name, or, without names, all of ours that there are with the models image.

    Raises UserError.
    """
    images = [_saved(found_docker(), reference) for reference in references] if references else _ours()
    if not images:
        raise UserError("there is no image of ours to load: `make image` builds them")
    for image in images:
        (name,) = registry.push(plan, [image])
        remember(plan, {image.reference.rpartition(":")[0]: name})
        say(name)


def loaded(plan: Plan) -> Mapping[str, str]:
    """What a manifest calls an image, and its name with digest."""
    file = _file(plan)
    names: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return names


def apply(plan: Plan, kubectl: Path, folder: Path) -> None:
    """Apply a kustomization with the digests of the images that were loaded. Raises UserError."""
    if not (folder / "kustomization.yaml").is_file():
        raise UserError(f"{folder}: has no kustomization.yaml; give the folder of an overlay")
    manifests.apply_folders(plan, kubectl, [folder.resolve()], loaded(plan))


def _ours() -> list[Image]:
    images = [read_image(MODELS)] if (MODELS / "index.json").exists() else []
    try:
        docker = found_docker()
    except UserError:
        return images
    references = [reference_of(recipe, version_of(ROOT)) for recipe in RECIPES.values()]
    return [*images, *(_saved(docker, reference) for reference in references if docker.image_id(reference))]


def _saved(docker: Docker, reference: str) -> Image:
    name, _, _ = reference.rpartition(":")
    if not name:
        raise UserError(f"{reference}: name an image with its tag, such as ai102/server:0.2.0")
    return saved_image(docker, reference, SAVED / name.replace("/", "-"))


def remember(plan: Plan, names: Mapping[str, str]) -> None:
    """Keep names with digests for `apply`, beside those that are kept."""
    artifact.write_text(_file(plan), json.dumps({**loaded(plan), **names}, indent=1, sort_keys=True) + "\n")


def _file(plan: Plan) -> Path:
    return plan.folder / "images.json"
