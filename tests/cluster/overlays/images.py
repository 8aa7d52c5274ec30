"""The images that overlays name, in the cluster's registry: ours, those of parts of the cache, and two stand-ins.

A stand-in takes the place of an image that cannot be had on this machine, and is named in docs/kubernetes.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ai102.compose.parts import part_images
from ai102.errors import UserError
from ai102.images.base import base_for
from ai102.images.docker import Docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.images.layout import Image, read_image
from ai102.images.saved import saved_image
from k8s.local import registry
from k8s.local.loading import MODELS, SAVED
from k8s.local.plan import ROOT, Plan

# What manifests name, and the part of the cache of which our Dockerfile makes an image with the same paths and user.
OF_PARTS = {
    "prom/prometheus": "prometheus",
    "prom/alertmanager": "alertmanager",
    "otel/opentelemetry-collector-contrib": "otelcol",
    "openzipkin/zipkin": "zipkin",
}
OURS = {f"ai102/{name}": recipe for name, recipe in RECIPES.items()}
STAND_INS = Path(__file__).parent / "stand_ins"
FLUENT_BIT = "fluent/fluent-bit"
GPU_SERVER = "ai102/server-gpu"


def missing(docker: Docker) -> list[str]:
    """The images of ours that Docker or build/images/models has not."""
    references = [reference_of(recipe, version_of(ROOT)) for recipe in OURS.values()]
    absent = [reference for reference in references if not docker.image_id(reference)]
    return absent if (MODELS / "index.json").exists() else [*absent, "ai102/models"]


def push_all(plan: Plan, docker: Docker, say: Callable[[str], None]) -> Mapping[str, str]:
    """Make and push them; gives the digest of each name. Those of parts that are not in the cache are left out."""
    references = {name: reference_of(recipe, version_of(ROOT)) for name, recipe in OURS.items()}
    base = base_for(docker, ROOT, say)
    for name, part in OF_PARTS.items():
        with suppress(UserError):
            references[name] = part_images(docker, ROOT, base, (part,))[part]
    references[FLUENT_BIT] = _stand_in(docker, "fluent_bit", references["ai102/api"])
    references[GPU_SERVER] = references["ai102/server"]
    images = {name: _named(name, docker, reference) for name, reference in references.items()}
    images["ai102/models"] = read_image(MODELS)
    registry.push(plan, images.values())
    return {name: image.digest for name, image in images.items()}


def _named(name: str, docker: Docker, reference: str) -> Image:
    """The image under the name that manifests give it, whatever Docker calls it."""
    folder = SAVED / reference.rpartition(":")[0].replace("/", "-")
    image = saved_image(docker, reference, folder)
    return dataclasses.replace(image, reference=f"{name}:{image.tag}")


def _stand_in(docker: Docker, name: str, base: str) -> str:
    """Build the stand-in of that name, on an image of ours that has Python."""
    reference = f"ai102/stand-in-{name.replace('_', '-')}:of-tests"
    command = ["build", "--quiet", "--network", "none", "--build-arg", f"BASE={base}", "--tag", reference]
    docker.run(*command, "--file", str(STAND_INS / f"{name}.Dockerfile"), str(STAND_INS))
    return reference
