"""Subcommands of `ai102 dashboards`: render, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Option("--folder", help="Where the dashboards' JSON files are.")]
FOLDER = Path("monitoring/dashboards")


@app.command()
def render(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
    folder: Folder = FOLDER,
) -> None:
    """Write Grafana's dashboards as JSON from the functions in tools/ai102/dashboards."""
    from ai102.dashboards import files
    from ai102.errors import UserError

    if not check:
        for path in files.write(folder):
            typer.echo(path)
    elif problems := files.stale(folder):
        raise UserError(f"{'; '.join(problems)}: run `ai102 dashboards render`")


@app.command()
def pictures(
    url: Annotated[str, typer.Option(help="Prometheus.")] = "http://127.0.0.1:9090",
    minutes: Annotated[float, typer.Option(help="How far back the graphs go.", min=0.5)] = 30.0,
    out: Annotated[Path, typer.Option(help="The folder of the pictures.")] = Path("build/dashboards"),
    folder: Folder = FOLDER,
) -> None:
    """Draw every panel of every dashboard from its own queries; the pictures are ours, not Grafana's."""
    from ai102.cli.screen import Screen
    from ai102.dashboards import pictures as drawn

    for path in drawn.draw(folder, url, minutes * 60, out, Screen()):
        typer.echo(path)
