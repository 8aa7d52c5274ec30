"""Subcommands of `ai102 kubernetes`: render, measure, secrets."""

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
    """Write the files of k8s/ that derive from models.toml, gateway.toml, monitoring/ and measurements."""
    from ai102.cli import rendering
    from ai102.kubernetes.render import files

    home = contract.absolute().parent
    rendering.render(files(home), home, check=check, command="ai102 kubernetes render")


@app.command()
def measure(
    starts: Annotated[int, typer.Option(help="How many times a replica is started.", min=1)] = 3,
    contract: ContractFile = CONTRACT,
) -> None:
    """Start a replica, and write its time to ready and its memory into loadtest/footprint.json."""
    import json

    from ai102 import contract as spec
    from ai102.artifact import write_text
    from ai102.kubernetes.footprint import FILE
    from ai102.kubernetes.measure import measure as measured

    home = contract.absolute().parent
    command = f"ai102 kubernetes measure --starts {starts}"
    row = measured(spec.load(contract), home / "model_repository", starts, command, typer.echo)
    write_text(home / FILE, json.dumps(row, indent=1) + "\n")
    typer.echo(f"wrote {FILE}; now run `ai102 kubernetes render`")


@app.command()
def secrets(
    name: Annotated[
        list[str] | None, typer.Option(help="A host name or address of the gateway for its certificate; repeatable.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Where the Secrets go.")] = "ai102",
    folder: Annotated[Path, typer.Option(help="Where they are kept.")] = Path("build/kubernetes/secrets"),
) -> None:
    """Print the Secrets that the manifests name, for `kubectl apply -f -`; what is missing is made in the folder."""
    from ai102.kubernetes import secrets as making

    making.make(folder, ("gateway", f"gateway.{namespace}.svc", *(name or ())))
    typer.echo(making.manifests(folder, namespace), nl=False)
