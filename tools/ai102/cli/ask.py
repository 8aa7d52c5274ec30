"""Subcommands that send requests to a served pipeline: infer, verify, demo."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from ai102.cli.engine import CONTRACT, ContractFile


def infer(
    ensemble: Annotated[str, typer.Argument(help="An ensemble of models.toml, such as classify_image.")],
    items: Annotated[list[str], typer.Argument(help="Image files, or texts.")],
    protocol: Annotated[Literal["http", "grpc"], typer.Option(help="The protocol.")] = "grpc",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the server; default: 127.0.0.1 and Triton's port.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Send images or texts to a served ensemble and print the answers."""
    from ai102.build.workspace import Workspace
    from ai102.cli import screen
    from ai102.client.ask import answers_from_items

    url = f"{protocol}://{address or ('127.0.0.1:8000' if protocol == 'http' else '127.0.0.1:8001')}"
    answers = list(answers_from_items(Workspace.of(contract).contract, url, ensemble, items))
    if as_json:
        typer.echo(json.dumps([screen.answer_as_dict(answer) for answer in answers], ensure_ascii=False, indent=1))
    else:
        screen.print_answers(answers)
    for answer in answers:
        if answer.outputs.get("truncated"):
            typer.echo(
                f"warning: {answer.item[:40]!r}...: longer than the network reads; its end was dropped", err=True
            )
    if any(answer.error for answer in answers):
        raise typer.Exit(2)


def verify(
    network: Annotated[str, typer.Argument(help="A network of models.toml.")],
    url: Annotated[str | None, typer.Option(help="A running server, as grpc://HOST:PORT; default: start one.")] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """Compare the served ensemble with PyTorch on the test split (exit 1 if they disagree)."""
    from ai102.build import verify as verification
    from ai102.build.workspace import Workspace
    from ai102.cli.screen import Screen

    if not verification.verify(Workspace.of(contract), network, url, Screen()):
        raise typer.Exit(1)


def demo(contract: ContractFile = CONTRACT) -> None:
    """Build and serve the reference networks, send requests over HTTP and gRPC, and print a summary."""
    from ai102.build.workspace import Workspace
    from ai102.cli.demo import run
    from ai102.cli.screen import Screen

    run(Workspace.of(contract), Screen())
