"""Subcommands of `ai102 monitoring`: render, check, facts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ai102.cli.engine import CONTRACT, ContractFile

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def render(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file differs.")] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Write monitoring/rules/contract.yaml from models.toml and loadtest/capacity.json."""
    from ai102.cli import rendering
    from ai102.monitoring.render import files

    home = contract.absolute().parent
    rendering.render(files(home), home, check=check, command="ai102 monitoring render")


@app.command()
def check(contract: ContractFile = CONTRACT) -> None:
    """Have promtool and amtool check the configuration, the rules, their unit tests and the routes."""
    from ai102.monitoring import checking

    checking.check(contract.absolute().parent, typer.echo)


@app.command()
def facts(
    output: Annotated[
        Path | None, typer.Option(help="A file NAME.prom in node exporter's textfile folder; default: print them.")
    ] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """What model_repository should serve, and whether INT8 was judged by models.toml as it is, as metrics."""
    from ai102.artifact import write_text
    from ai102.build.workspace import Workspace
    from ai102.monitoring.facts import facts_text

    text = facts_text(Workspace.of(contract))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
