"""The subcommand preflight: whether this machine is fit, as a table, as text or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ai102.cli.engine import CONTRACT


def preflight(
    profile: Annotated[
        Literal["dev", "production", "gpu"], typer.Option(help="What the machine is for; it decides what is required.")
    ] = "dev",
    format: Annotated[Literal["text", "json"], typer.Option(help="json has the measured numbers too.")] = "text",
    folder: Annotated[
        Path, typer.Option(help="Where models and images will lie: its disk is measured with at most 256 MB.")
    ] = Path(),
    contract: Annotated[
        Path, typer.Option(help="The contract, whose table [server] is compared with the machine, if it exists.")
    ] = CONTRACT,
) -> None:
    """Check whether this machine or container is fit to build and serve (exit 1 if not)."""
    from rich.console import Console

    from ai102.cli import verdicts
    from ai102.contract import load
    from ai102.preflight import formats, run
    from ai102.preflight.profiles import PROFILES

    settings = load(contract) if contract.is_file() or contract != CONTRACT else None
    with Console(stderr=True).status("measuring the disk, asking docker, kubectl and nvidia-smi"):
        machine = run.survey(folder)
    lines = run.judged(machine, PROFILES[profile], settings)
    if format == "json":
        typer.echo(formats.json_of(profile, lines, machine))
    elif (console := Console(highlight=False)).is_terminal:
        verdicts.show(console, lines, formats.summary(profile, lines))
    else:
        typer.echo(formats.text_of(lines))
        typer.echo(formats.summary(profile, lines))
    if not run.is_fit(lines):
        raise typer.Exit(1)
