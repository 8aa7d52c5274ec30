"""Subcommands of `ai102 cluster`: status, forward."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

# Tables whose lines are whole where nobody looks at them in a terminal.
WIDTH_OF_FILES = 1000


@app.callback()
def cluster() -> None:
    """A Kubernetes that runs the gateway and its replicas, asked by kubectl."""


@app.command()
def status(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where the overlay was applied.")] = "ai102",
    context: Annotated[str, typer.Option(help="Of the kubeconfig; default: its current one.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: as kubectl finds it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="For each question to the cluster.", min=1)] = 10.0,
) -> None:
    """What runs, which release, and what is unhealthy, why, and what to do (exit 1 if anything is)."""
    import io
    import json

    from rich.console import Console

    from ai102.cluster import asking, rules
    from ai102.cluster.screen import screen
    from ai102.cluster.words import as_dict

    kubectl = asking.kubectl_for(namespace, context, kubeconfig, timeout_s)
    facts = asking.facts_of(kubectl, context)
    findings = rules.findings(facts)
    if as_json:
        typer.echo(json.dumps(as_dict(facts, findings), indent=1))
    else:
        console = Console(highlight=False)
        if console.is_terminal:
            console.print(screen(facts, findings))
        else:
            text = io.StringIO()
            Console(file=text, highlight=False, width=WIDTH_OF_FILES).print(screen(facts, findings))
            typer.echo("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
    raise typer.Exit(0 if rules.is_healthy(findings) else 1)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def forward(
    command: Annotated[list[str], typer.Argument(help="What runs, with {http}, {grpc} and {metrics} for HOST:PORT.")],
    target: Annotated[str, typer.Option(help="Whose ports.")] = "service/triton",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where the overlay was applied.")] = "ai102",
    context: Annotated[str, typer.Option(help="Of the kubeconfig; default: its current one.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: as kubectl finds it.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="Until the ports are there.", min=1)] = 30.0,
) -> None:
    """Run a command while the ports of one replica are on this machine; its exit status is the command's."""
    import subprocess

    from ai102.cluster.asking import kubectl_for
    from ai102.cluster.forwarding import filled_in, forwarded
    from ai102.errors import UserError

    with forwarded(kubectl_for(namespace, context, kubeconfig, timeout_s), target) as addresses:
        try:
            status = subprocess.run(filled_in(command, addresses), check=False).returncode
        except OSError as err:
            raise UserError(f"{command[0]}: {err.strerror}: name a command that is there") from err
    raise typer.Exit(status if status >= 0 else 128 - status)
