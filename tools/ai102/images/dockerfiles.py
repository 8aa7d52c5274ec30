"""The images that Docker builds: which Dockerfile and target makes which, and the command that builds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai102.errors import UserError
from ai102.images.docker import Docker
from ai102.images.labels import revision_of, source_of, version_of

# Where the machine's certificates and pip's configuration may lie; a build gets them as secrets, no image has them.
CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
PIP_CONFIGURATIONS = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")


@dataclass(frozen=True)
class Recipe:
    """One image: its name, its Dockerfile in docker/, and the stage of it."""

    name: str
    dockerfile: str
    target: str = ""


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("server", "server.Dockerfile"),
        Recipe("gateway", "gateway.Dockerfile", "haproxy"),
        Recipe("gateway-nginx", "gateway.Dockerfile", "nginx"),
        Recipe("api", "api.Dockerfile"),
        Recipe("quality-gate", "quality-gate.Dockerfile"),
    )
}
# Built by who can pull NVIDIA's image; of some 15 GB.
GPU = Recipe("server-gpu", "server.gpu.Dockerfile")


def recipe_of(name: str) -> Recipe:
    """UserError for a name that is none."""
    known = {**RECIPES, GPU.name: GPU}
    if name not in known:
        raise UserError(f'there is no image "{name}": there are {", ".join(known)}')
    return known[name]


def reference_of(recipe: Recipe, version: str) -> str:
    return f"ai102/{recipe.name}:{version}"


def build(docker: Docker, root: Path, recipe: Recipe, base: str, network: str) -> str:
    """Build one image from the files in `root`; gives its name with tag. Docker's progress goes to the terminal."""
    version = version_of(root)
    reference = reference_of(recipe, version)
    arguments = {"VERSION": version, "REVISION": revision_of(root), "SOURCE": source_of(root)}
    docker.show(*build_command(root, recipe, reference, base, network, arguments, os.environ))
    return reference


def build_command(
    root: Path,
    recipe: Recipe,
    reference: str,
    base: str,
    network: str,
    arguments: Mapping[str, str],
    environ: Mapping[str, str],
) -> list[str]:
    """The arguments of `docker`; an empty `base` is the one that the Dockerfile pins."""
    command = ["build", "--file", str(root / "docker" / recipe.dockerfile), "--tag", reference]
    command += ["--network", network] if network else []
    command += ["--target", recipe.target] if recipe.target else []
    for name, value in {**({"BASE": base} if base else {}), **arguments}.items():
        command += ["--build-arg", f"{name}={value}"]
    for name, place in secrets_of(environ).items():
        command += ["--secret", f"id={name},src={place}"]
    return [*command, str(root)]


def secrets_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip needs behind a mirror or an own certificate authority, where this machine has it configured."""
    certificates = next((environ[name] for name in CERTIFICATES if Path(environ.get(name, "")).is_file()), "")
    places = [environ.get("PIP_CONFIG_FILE", ""), *PIP_CONFIGURATIONS]
    pip = next((str(path) for path in map(_expanded, places) if path.is_file()), "")
    return {**({"ca": certificates} if certificates else {}), **({"pip": pip} if pip else {})}


def _expanded(place: str) -> Path:
    return Path(place).expanduser() if place else Path("/nonexistent")
