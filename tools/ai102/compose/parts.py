"""Images of third-party programs: from a registry, or of our own making where none answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ai102.compose.program import compose_output
from ai102.errors import UserError
from ai102.images.base import PULL_TIMEOUT_S, base_for
from ai102.images.docker import Docker
from ai102.parts import Cache, load

COMPOSE_FILE = "compose.yaml"
DOCKERFILE, FOLDER = Path("docker/parts.Dockerfile"), Path("docker")
# Stages that need no part: Debian's packages, by the version that images are named with.
PACKAGES = {"redis": "7.0.15", "postgres": "15"}


def third_party_images(docker: Docker, root: Path, *, files: Sequence[str] = (), profile: str = "") -> list[str]:
    """The images that compose.yaml and `files` name and that are not ours; those of a profile only with `profile`."""
    command = [word for file in (COMPOSE_FILE, *files) for word in ("--file", file)]
    command += ["--profile", profile] if profile else []
    text = compose_output(docker, root, *command, "config", "--no-interpolate", "--format", "json")
    return sorted({row["image"] for row in json.loads(text)["services"].values() if "$" not in row["image"]})


def why_not_from_registry(docker: Docker, root: Path, images: Sequence[str], say: Callable[[str], None]) -> str:
    """Pull what is missing; "" when all is there, else what cannot be had."""
    missing = [image for image in images if not docker.image_id(image)]
    if missing and base_for(docker, root, say):
        return "no image registry answers"
    for image in missing:
        if not docker.succeeds("pull", "--quiet", image, timeout_s=PULL_TIMEOUT_S):
            return f"{image} cannot be pulled"
    return ""


def part_images(docker: Docker, root: Path, base: str, names: Sequence[str]) -> dict[str, str]:
    """Build the image of each part or stage of PACKAGES. UserError names the parts that are not in the cache."""
    parts, cache = load(), Cache.of(os.environ)
    of_parts = [name for name in names if name not in PACKAGES]
    missing = [name for name in of_parts if cache.manifest(name, parts.part(name)) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)}: not in the cache {cache.root}: run `ai102 parts build {' '.join(missing)}`"
        )
    images = {}
    for name in names:
        if name in PACKAGES:
            version, context = PACKAGES[name], root / FOLDER
        else:
            part = parts.part(name)
            version, context = f"{part.version}-{cache.identity(name, part)[:8]}", cache.folder(name, part)
        images[name] = f"ai102/part-{name}:{version}"
        command = ["build", "--quiet", "--file", str(root / DOCKERFILE), "--target", name, "--tag", images[name]]
        command += ["--network", "host", *(["--build-arg", f"BASE={base}"] if base else [])]
        docker.run(*command, str(context))
    return images


def part_values(images: Mapping[str, str]) -> dict[str, str]:
    """What .env says of them."""
    return {f"AI102_PART_{part.upper().replace('-', '_')}": image for part, image in images.items()}
