"""Subcommands about existing builds: models, rollback."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ai102.cli.engine import CONTRACT, ContractFile

URL = typer.Option(help="A running server, as grpc://HOST:PORT or http://HOST:PORT.")


def models(
    url: Annotated[str | None, URL] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """List the models: builds, sizes, budgets, engines, whether configs are current, and what a server has loaded."""
    from ai102.build import inventory
    from ai102.build.workspace import Workspace
    from ai102.cli import screen

    rows = inventory.rows(Workspace.of(contract), url)
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows], ensure_ascii=False, indent=1))
    else:
        screen.print_models(rows)


def rollback(
    network: Annotated[str, typer.Argument(help="A network of models.toml.")],
    undo: Annotated[bool, typer.Option("--undo", help="Restore the build that was rolled back last.")] = False,
    url: Annotated[str | None, URL] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """Serve the previous build; a server in poll mode, or the one at --url, loads it at once."""
    from ai102.build import in_one_process
    from ai102.build.lock import opened
    from ai102.client import Client

    with opened(contract, typer.echo, [network]) as workspace:
        builds = workspace.builds(network)
        changed = builds.undo() if undo else builds.roll_back()
        ensembles = in_one_process.follow(workspace, network)
    for folder in changed:
        model = folder.parent.name
        if undo:
            typer.echo(f"{model}: version {folder.name} is back")
        else:
            typer.echo(f"{model}: version {builds.newest(model).name} serves, not {folder.name}")
    for ensemble in ensembles:
        typer.echo(f"{ensemble}: runs the same build in its own process")
    if url is None:
        return
    with Client(url) as client:
        for model in (*(folder.parent.name for folder in changed), *ensembles):
            client.load(model)
            typer.echo(f"{model}: {client.url} loaded it")
