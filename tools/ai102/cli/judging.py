"""The subcommand release judge: a canary's answers against the version in service, until there is a decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ai102.cli.engine import CONTRACT, ContractFile
from ai102.errors import UserError

# Exit statuses; 2 is a user's mistake.
STATUSES = {"promote": 0, "stop": 1, "undecided": 3}


def judge(
    canary: Annotated[str, typer.Option(help="The canary, as grpc://HOST:PORT or http://HOST:PORT.")],
    primary: Annotated[str, typer.Option(help="The version in service; default: only labels and goals decide.")] = "",
    models: Annotated[str, typer.Option(help="Networks or pipelines, such as digits,embed_text; default: all.")] = "",
    share: Annotated[float, typer.Option(help="The canary's share of traffic.", min=0.001, max=1)] = 0.1,
    metrics: Annotated[
        str, typer.Option(help="The canary's memory: http://HOST:8002 with metrics, or pid:NUMBER of this machine.")
    ] = "",
    samples: Annotated[
        int | None, typer.Option(help="Samples of each network at most; 0: all. Default: 2,000, and 128 texts.", min=0)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for judgement.json and judgement.html.")] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="What is printed.")] = "text",
    token_file: Annotated[Path | None, typer.Option(help="A file with a token for the gateway.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="The authority of the servers' certificates, PEM.")] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """Replay held-out samples through a canary and decide (exit 0 promote, 1 stop, 3 undecided)."""
    from ai102.build.workspace import Workspace
    from ai102.client import Tls
    from ai102.judging.asking import Server
    from ai102.judging.judgement import judge as judged
    from ai102.judging.memory import reader_of
    from ai102.judging.subject import subjects_of

    workspace = Workspace.of(contract)
    names = [name.strip() for name in models.split(",") if name.strip()]
    subjects = subjects_of(workspace.contract, workspace.sets, names, samples)
    headers = {"authorization": f"Bearer {_token(token_file)}"} if token_file else {}
    tls = Tls(ca_file=ca_file) if ca_file else None
    servers = [Server(url, headers, tls) for url in (canary, primary) if url]
    try:
        judgement = judged(
            subjects, servers[0], servers[1] if primary else None, share, reader_of(metrics) if metrics else None
        )
    finally:
        for server in servers:
            server.close()
    if format == "json":
        typer.echo(json.dumps(judgement.as_dict(), indent=1))
    else:
        for finding in judgement.findings:
            typer.echo(f"{finding.state:6} {finding.subject}: {finding.check}: {finding.sentence}")
        typer.echo(f"{judgement.verdict}: {judgement.reason}")
    raise typer.Exit(STATUSES[judgement.verdict])


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as err:
        raise UserError(f"--token-file: cannot read {file} ({err.strerror})") from err
    if not token or not token.isprintable() or " " in token:
        raise UserError(f"--token-file: {file} does not hold one token")
    return token
