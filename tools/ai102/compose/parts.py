"""Images of third-party programs of our own making, where no registry answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ai102.errors import UserError
from ai102.images.docker import Docker
from ai102.parts import Cache, load

DOCKERFILE, FOLDER = Path("docker/parts.Dockerfile"), Path("docker")
# Stages that need no part: Debian's packages, by the version that images are named with.
PACKAGES = {"redis": "7.0.15", "postgres": "15"}


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
