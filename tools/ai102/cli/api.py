"""Subcommands of `ai102 api`: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ai102.cli.engine import CONTRACT, ContractFile
from ai102.cli.jobs import Fsync, LedgerPassword, LedgerUrl, Sidecar

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def api() -> None:
    """The HTTP API for images and texts in front of Triton."""


@app.command()
def serve(
    listen: Annotated[str, typer.Option(help="HOST:PORT; default: services.api of gateway.toml.")] = "",
    url: Annotated[
        str,
        typer.Option(
            help="Triton, as grpc://HOST:PORT,HOST:PORT; default: the replicas of gateway.toml, or 127.0.0.1:8001 "
            "where none of them answers."
        ),
    ] = "",
    classify: Annotated[
        str, typer.Option(help="The ensemble that labels images; default: the first in models.toml.")
    ] = "",
    embed: Annotated[str, typer.Option(help="The ensemble that embeds texts; default: the first in models.toml.")] = "",
    deadline_s: Annotated[
        float, typer.Option(help="Time from a complete request to its answer.", min=0.1, max=600)
    ] = 10.0,
    max_files: Annotated[int, typer.Option(help="Images per request.", min=1)] = 32,
    max_file_bytes: Annotated[int, typer.Option(help="Bytes per image.", min=1)] = 8 << 20,
    max_upload_bytes: Annotated[int, typer.Option(help="Bytes of all images of a request.", min=1)] = 32 << 20,
    max_texts: Annotated[int, typer.Option(help="Texts per request.", min=1)] = 32,
    max_text_chars: Annotated[int, typer.Option(help="Characters per text.", min=1)] = 16_384,
    max_calls: Annotated[int, typer.Option(help="Concurrent requests to Triton.", min=1)] = 16,
    max_waiting: Annotated[
        int, typer.Option(help="Requests that may wait; further ones are answered with 503.", min=0)
    ] = 112,
    traces: Annotated[
        str,
        typer.Option(
            help="The collector's OTLP over HTTP, http://HOST:4318; default: traces.collector of gateway.toml."
        ),
    ] = "",
    jobs: Annotated[
        Path | None,
        typer.Option(help="Take jobs at /v1/jobs, and keep them in this folder.", metavar="FOLDER"),
    ] = None,
    ledger: LedgerUrl = "",
    ledger_password: LedgerPassword = None,
    dapr: Sidecar = "",
    fsync: Fsync = False,
    gateway: Annotated[Path, typer.Option(help="The policy file.", metavar="FILE")] = Path("gateway.toml"),
    contract: ContractFile = CONTRACT,
) -> None:
    """Serve /v1/classify, /v1/embed, a page at / and API documentation at /docs; log one JSON line per request."""
    from ai102 import contract as spec
    from ai102.api.limits import Limits
    from ai102.api.serve import JobsAsked
    from ai102.api.serve import serve as run
    from ai102.api.triton import Address, Choice, chosen
    from ai102.contract.answers import asked_from_contract
    from ai102.errors import UserError
    from ai102.gateway import policy
    from ai102.jobs.service import Options
    from ai102.masking import Masker
    from ai102.masking.logs import masked, uvicorn_log_config

    loaded_contract = spec.load(contract)
    ensembles = asked_from_contract(loaded_contract, classify, embed)
    models = {model.name: model for model in loaded_contract.served_models}
    server = Choice(url, "")
    if not (listen and url):
        loaded = policy.load(gateway)
        listen = listen or loaded.services.api
        traces = traces or loaded.traces.collector
        if not url and loaded.triton.discovery != "static":
            raise UserError(
                f'{gateway}: triton.discovery is "{loaded.triton.discovery}", so it names no replica to ask: '
                "give --url, such as grpc:// and the gateway's listen.internal"
            )
        if not url:
            server = chosen([Address(replica.http, replica.grpc) for replica in loaded.triton.replicas])
        if not listen:
            raise UserError(f"{gateway}: services.api is empty: write an address there, or give --listen HOST:PORT")
    limits = Limits(
        max_files=max_files,
        max_file_bytes=max_file_bytes,
        max_upload_bytes=max_upload_bytes,
        max_texts=max_texts,
        max_text_chars=max_text_chars,
        deadline_s=deadline_s,
        max_calls=max_calls,
        max_waiting=max_waiting,
    )
    home = gateway.absolute().parent
    masker = Masker.beside(home)
    run(
        listen,
        server,
        ensembles,
        limits,
        lambda line: print(masked(masker, line), flush=True),  # noqa: T201 - the access log
        lambda line: typer.echo(line, err=True),  # addresses of ours, which a person must read whole
        uvicorn_log_config(home),
        traces,
        lambda text: masked(masker, text),
        JobsAsked(Options(jobs, ledger, ledger_password, dapr, fsync=fsync), models) if jobs else None,
    )
