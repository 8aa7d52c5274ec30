"""Subcommands of `ai102 compose`: prepare, secrets, up, ask, down."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.compose.stack import Stack

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

Models = Annotated[str, typer.Option(help="The models image; default: the one that `ai102 image models` wrote.")]
Gateway = Annotated[Literal["haproxy", "nginx"], typer.Option(help="The gateway's proxy.")]
HostNames = Annotated[
    list[str] | None, typer.Option("--name", help="Another host name or address of the gateway; repeatable.")
]
Eyes = Annotated[bool, typer.Option("--eyes", help="With metrics, alerts, traces and logs: the profile eyes.")]
Jobs = Annotated[
    Literal["embedded", "dapr"],
    typer.Option(help="Where jobs are kept: in SQLite, or in PostgreSQL and Redis behind Dapr's sidecars."),
]
IMAGES: dict[str, str] = {"haproxy": "gateway", "nginx": "gateway-nginx"}


@app.command()
def prepare(
    models: Models = "",
    gateway: Gateway = "haproxy",
    name: HostNames = None,
    eyes: Eyes = False,
    jobs: Jobs = "embedded",
) -> None:
    """Make what compose.yaml names: secrets, volumes, the gateway's policy, .env. Then `docker compose up` works."""
    _prepared(models, gateway, name, eyes, jobs)


@app.command()
def secrets(name: HostNames = None) -> None:
    """Make the stack's secrets where they are missing, in build/compose/secrets."""
    import os

    from ai102.compose.secrets import FOLDER, make_secrets
    from ai102.compose.settings import user_ids

    new = make_secrets(Path.cwd(), *user_ids(os.getuid(), os.getgid()), tuple(name or ()))
    typer.echo(f"{FOLDER}: {'made ' + ', '.join(new) if new else 'all there'}")


@app.command()
def up(
    models: Models = "",
    gateway: Gateway = "haproxy",
    name: HostNames = None,
    eyes: Eyes = False,
    jobs: Jobs = "embedded",
) -> None:
    """Prepare, start the stack, and ask each pipeline once, as soon as it answers."""
    began = time.monotonic()
    stack = _prepared(models, gateway, name, eyes, jobs)
    stack.up()
    for line in _answers(stack):
        typer.echo(line)
    rest, grpc = _ports()
    typer.echo(f"ready after {time.monotonic() - began:.1f} s: https://localhost:{rest} grpcs://localhost:{grpc} "
               "(`ai102 compose down` stops it)")  # fmt: skip


@app.command()
def ask() -> None:
    """Ask each pipeline of the running stack once, through the gateway."""
    for line in _answers(_stack()):
        typer.echo(line)


@app.command()
def token() -> None:
    """Print an access token of the user `compose`, role caller, for the running stack; two hours."""
    from ai102.compose.first_question import token_for_compose

    typer.echo(token_for_compose(_stack()))


@app.command()
def down() -> None:
    """Stop and remove the containers; secrets, users, keys and models stay."""
    _stack().down()


def _prepared(models: str, gateway: str, names: list[str] | None, eyes: bool, jobs: str) -> Stack:
    stack = _stack()
    image = models or _models_on_disk()
    stack.prepare(image, IMAGES[gateway], tuple(names or ()), with_eyes=eyes, with_dapr=jobs == "dapr")
    if eyes:
        _write_facts(stack.root)
    return stack


def _write_facts(root: Path) -> None:
    """What the contract promises, where node exporter reads it."""
    from ai102.artifact import write_text
    from ai102.build.workspace import Workspace
    from ai102.compose.stack import FACTS
    from ai102.monitoring.facts import facts_text

    file = root / FACTS / "ai102.prom"
    write_text(file, facts_text(Workspace.of(root / "models.toml")))
    file.chmod(0o644)  # node exporter is another user


def _answers(stack: Stack) -> list[str]:
    from ai102 import contract
    from ai102.compose.first_question import answers_when_ready

    gateway = f"localhost:{_ports()[1]}"
    return answers_when_ready(stack, contract.load(stack.root / "models.toml"), gateway)


def _ports() -> tuple[str, str]:
    """Where REST and gRPC are published."""
    import os

    return os.environ.get("AI102_REST_PORT", "8080"), os.environ.get("AI102_GRPC_PORT", "8081")


def _models_on_disk() -> str:
    from ai102.images.layout import read_image
    from ai102.images.models import FOLDER

    return read_image(FOLDER).reference


def _stack() -> Stack:
    from ai102.compose.stack import Stack
    from ai102.images.docker import found_docker

    root = Path.cwd()
    if not (root / "compose.yaml").is_file():
        raise UserError(f"{root}: has no compose.yaml: run it in the repository's own folder")
    return Stack(found_docker(), root, lambda line: typer.echo(line, err=True))
