"""Jobs behind Dapr: Compose's files for it, and images from a registry, or of our own making where none answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai102.compose.parts import part_images, part_values, third_party_images, why_not_from_registry
from ai102.images.base import base_for
from ai102.images.docker import Docker

DAPR_FILE, DAPR_PARTS_FILE = "docker/compose.dapr.yaml", "docker/compose.dapr-parts.yaml"
PARTS = ("redis", "postgres", "dapr")
# State that outlives containers: the volume's name after the project's, and its place in the image.
STATES = (("redis", "/data"), ("postgres", "/var/lib/postgresql/data"))
# The user of both images.
STATE_UID = 999


@dataclass(frozen=True)
class Dapr:
    """`part_images`: by the name of each part its image, empty where the registry's images are taken."""

    part_images: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """Of Compose, beside compose.yaml."""
        return [DAPR_FILE, *([DAPR_PARTS_FILE] if self.part_images else [])]

    @property
    def values(self) -> dict[str, str]:
        """What .env says of it."""
        return part_values(self.part_images)


def dapr_for(docker: Docker, root: Path, say: Callable[[str], None]) -> Dapr:
    """The images of the registry where all can be had; else our own, which are built here. UserError."""
    why = why_not_from_registry(docker, root, third_party_images(docker, root, files=[DAPR_FILE]), say)
    if not why:
        return Dapr()
    say(f"jobs: {why}: images are made of Debian's packages and of the part dapr ({DAPR_PARTS_FILE})")
    return Dapr(part_images(docker, root, base_for(docker, root, say), PARTS))
