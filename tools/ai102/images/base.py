"""The base image: the pinned one of the registry, or one of Debian's packages where no registry answers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from ai102.errors import UserError
from ai102.images.docker import Docker

PULL_TIMEOUT_S = 180.0
# A registry that cannot be reached is often not refused but never answered.
LOCAL = "debian:bookworm-slim"


def pinned_base(root: Path) -> str:
    """What the Dockerfiles say FROM; UserError when they differ."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((root / "docker").glob("*.Dockerfile"))}
    matches_of_files = (re.finditer(r"^ARG BASE=(debian:\S+)", text, re.M) for text in texts.values())
    bases = {str(match[1]) for matches in matches_of_files for match in matches}
    if len(bases) != 1:
        raise UserError(
            f"docker/: the Dockerfiles name {len(bases)} base images ({', '.join(sorted(bases))}); want one"
        )
    return bases.pop()


def base_for(docker: Docker, root: Path, say: Callable[[str], None]) -> str:
    """The base to build from: "" for the pinned one, else the name of the substitute that docker/base.sh makes."""
    pinned = pinned_base(root)
    if docker.image_id(pinned):
        return ""
    if _is_substitute(docker):
        say(f"base: {LOCAL} is the substitute of an earlier build, made from Debian's packages; it is not {pinned}")
        return LOCAL
    if docker.succeeds("pull", "--quiet", pinned, timeout_s=PULL_TIMEOUT_S):
        return ""
    say(f"base: {pinned} cannot be pulled: no registry answers")
    status = subprocess.run([root / "docker" / "base.sh", LOCAL], check=False).returncode
    if status:
        raise UserError(f"the base image can be neither pulled nor made (docker/base.sh ended with status {status})")
    return LOCAL


def _is_substitute(docker: Docker) -> bool:
    label = '{{index .Config.Labels "ai102.base"}}'
    return (
        docker.succeeds("image", "inspect", LOCAL) and docker.run("inspect", "--format", label, LOCAL) == "mmdebstrap"
    )
