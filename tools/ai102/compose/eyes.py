"""The profile eyes: its images from a registry, or of our own making where no registry answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai102.compose.parts import part_images, part_values, third_party_images, why_not_from_registry
from ai102.images.base import base_for
from ai102.images.docker import Docker

PROFILE = "eyes"
PARTS_FILE, PUBLISHED_FILE = "docker/compose.parts.yaml", "docker/compose.published.yaml"
# The parts that take the places of images.
PARTS = ("prometheus", "alertmanager", "node-exporter", "otelcol", "zipkin", "opensearch")


@dataclass(frozen=True)
class Eyes:
    """`part_images`: by the name of each part its image, empty where the registry's images are taken."""

    part_images: Mapping[str, str] = field(default_factory=dict)
    is_published: bool = False

    @property
    def files(self) -> list[str]:
        """Of Compose, beside compose.yaml."""
        return [*([PARTS_FILE] if self.part_images else []), *([PUBLISHED_FILE] if self.is_published else [])]

    @property
    def values(self) -> dict[str, str]:
        """What .env says of it, so that every command of Compose knows the profile."""
        return {"COMPOSE_PROFILES": PROFILE, **part_values(self.part_images)}


def eyes_for(docker: Docker, root: Path, say: Callable[[str], None]) -> Eyes:
    """The images of the registry where all can be had; else images of parts, which are built here. UserError."""
    is_published = bool(os.environ.get("AI102_EYES_BIND"))
    why = why_not_from_registry(docker, root, third_party_images(docker, root, profile=PROFILE), say)
    if not why:
        return Eyes(is_published=is_published)
    say(f"eyes: {why}: images are made of the parts in the cache ({PARTS_FILE}); Grafana is left out")
    return Eyes(part_images(docker, root, base_for(docker, root, say), PARTS), is_published)
