"""The profile eyes: its images from a registry, or of our own making where no registry answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai102.compose.parts import part_images
from ai102.compose.program import compose_output
from ai102.images.base import PULL_TIMEOUT_S, base_for
from ai102.images.docker import Docker

PROFILE = "eyes"
COMPOSE_FILE, PARTS_FILE, PUBLISHED_FILE = "compose.yaml", "docker/compose.parts.yaml", "docker/compose.published.yaml"
# The parts that take the places of images.
PARTS = ("prometheus", "alertmanager", "node-exporter", "otelcol", "zipkin", "opensearch")


@dataclass(frozen=True)
class Eyes:
    """`part_images`: by the name of each part its image, empty where the registry's images are taken."""

    part_images: Mapping[str, str] = field(default_factory=dict)
    is_published: bool = False

    @property
    def values(self) -> dict[str, str]:
        """What .env says of it, so that every command of Compose knows profile and files."""
        files = [COMPOSE_FILE]
        files += [PARTS_FILE] if self.part_images else []
        files += [PUBLISHED_FILE] if self.is_published else []
        names = {f"AI102_PART_{part.upper().replace('-', '_')}": image for part, image in self.part_images.items()}
        return {"COMPOSE_PROFILES": PROFILE, "COMPOSE_FILE": ":".join(files), **names}


def eyes_for(docker: Docker, root: Path, say: Callable[[str], None]) -> Eyes:
    """The images of the registry where all can be had; else images of parts, which are built here. UserError."""
    is_published = bool(os.environ.get("AI102_EYES_BIND"))
    why = _why_not_from_registry(docker, root, say)
    if not why:
        return Eyes(is_published=is_published)
    say(f"eyes: {why}: images are made of the parts in the cache ({PARTS_FILE}); Grafana is left out")
    return Eyes(part_images(docker, root, base_for(docker, root, say), PARTS), is_published)


def third_party_images(docker: Docker, root: Path) -> list[str]:
    """The images that compose.yaml names and that are not ours."""
    command = ("--file", COMPOSE_FILE, "--profile", PROFILE, "config", "--no-interpolate", "--format", "json")
    services = json.loads(compose_output(docker, root, *command))["services"]
    return sorted({row["image"] for row in services.values() if "$" not in row["image"]})


def _why_not_from_registry(docker: Docker, root: Path, say: Callable[[str], None]) -> str:
    """Pull what is missing; "" when all is there, else what cannot be had."""
    missing = [image for image in third_party_images(docker, root) if not docker.image_id(image)]
    if missing and base_for(docker, root, say):
        return "no image registry answers"
    for image in missing:
        if not docker.succeeds("pull", "--quiet", image, timeout_s=PULL_TIMEOUT_S):
            return f"{image} cannot be pulled"
    return ""
