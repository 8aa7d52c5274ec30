"""The subcommand serve: one tritonserver, the replicas behind a gateway, or a sealed bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ai102.cli import seal
from ai102.cli.engine import CONTRACT

if TYPE_CHECKING:
    from ai102.contract import Contract

Log = Callable[[str], None]
Programs = Callable[[str], Sequence[tuple[str, Sequence[str]]]]


def serve(
    repository: Annotated[Path, typer.Option(help="The model repository to serve.")] = Path("model_repository"),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="HTTP port; 0: any free one.", min=0, max=65535)] = 8000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0: any free one.", min=0, max=65535)] = 8001,
    metrics_port: Annotated[int, typer.Option(help="Prometheus port; 0: any free one.", min=0, max=65535)] = 8002,
    model: Annotated[list[str] | None, typer.Option(help="Load only this model; repeatable.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Serve this bundle, decrypted in memory, instead of --repository.")
    ] = None,
    keys: Annotated[Path, typer.Option(help="The folder with the bundle's key.")] = seal.HOME,
    replicas: Annotated[
        int, typer.Option(help="Start this many servers, at the addresses of gateway.toml.", min=0)
    ] = 0,
    gateway: Annotated[Path, typer.Option(help="The policy file with the addresses for --replicas.")] = Path(
        "gateway.toml"
    ),
    contract: Annotated[
        Path | None,
        typer.Option(
            help="The contract, whose table [server] says how tritonserver is started; default: the models.toml "
            "beside --repository, if there is one.",
            metavar="FILE",
        ),
    ] = None,
    print_arguments: Annotated[
        bool, typer.Option("--print-arguments", help="Print what [server] gives to tritonserver; start nothing.")
    ] = False,
    traces: Annotated[
        str,
        typer.Option(
            help="Send spans of traced calls to this collector, http://HOST:4318; with --replicas, default: "
            "traces.collector of gateway.toml."
        ),
    ] = "",
    api: Annotated[
        bool, typer.Option("--api", help="Also serve the HTTP API, with jobs at /v1/jobs, and do the jobs.")
    ] = False,
    api_listen: Annotated[str, typer.Option(help="HOST:PORT of that API; default: services.api of gateway.toml.")] = "",
    jobs: Annotated[Path, typer.Option(help="Where that API keeps its jobs.", metavar="FOLDER")] = Path("build/jobs"),
    triton: Annotated[
        list[str] | None, typer.Argument(help="Arguments for tritonserver itself, after --.", metavar="[-- ARG...]")
    ] = None,
) -> None:
    """Start a tritonserver on the model repository; Ctrl-C stops it."""
    from contextlib import ExitStack

    from ai102.errors import UserError
    from ai102.masking import Masker
    from ai102.masking.logs import masked

    settings = _contract(contract, repository)
    if print_arguments:
        from ai102.serve.arguments import server_arguments

        for argument in server_arguments(settings) if settings else ():
            typer.echo(argument)
        return
    masker = Masker.beside(gateway.absolute().parent)

    def log(line: str) -> None:
        typer.echo(masked(masker, line), err=True)

    with ExitStack() as opened:
        if bundle is not None:
            from ai102.seal.bundle import opened_in_memory

            repository = opened.enter_context(opened_in_memory(bundle, seal.ring_of(keys)))
        if replicas and api:
            raise UserError("--api goes with one server: start `ai102 api serve --jobs` beside the replicas")
        if replicas:
            _serve_replicas(gateway, replicas, repository, model, settings, traces, triton, log)
        else:
            ports = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
            more = _programs(contract, repository, gateway, api_listen, jobs, traces) if api else None
            _serve_one(repository, host, ports, model, settings, traces, triton, log, more)


def _contract(given: Path | None, repository: Path) -> Contract | None:
    """The contract to start by, None where a repository without one is served."""
    from ai102.contract import load

    file = given or repository.absolute().parent / CONTRACT
    return load(file) if given or file.is_file() else None


def _serve_replicas(
    gateway: Path,
    count: int,
    repository: Path,
    models: list[str] | None,
    contract: Contract | None,
    traces: str,
    triton: list[str] | None,
    log: Log,
) -> None:
    from ai102.gateway import policy
    from ai102.gateway.replicas import serve_replicas

    loaded = policy.load(gateway)
    serve_replicas(
        loaded,
        gateway.absolute().parent,
        count,
        repository,
        models=models,
        contract=contract,
        extra_arguments=triton or (),
        collector=traces or loaded.traces.collector,
        say=typer.echo,
        log=log,
    )


def _serve_one(
    repository: Path,
    host: str,
    ports: Mapping[str, int],
    models: list[str] | None,
    contract: Contract | None,
    traces: str,
    triton: list[str] | None,
    log: Log,
    more: Programs | None,
) -> None:
    import socket
    from contextlib import ExitStack

    from ai102.serve.server import Server, run_until_signal
    from ai102.serve.traces import tracing_arguments

    arguments = (*(tracing_arguments(traces, socket.gethostname()) if traces else ()), *(triton or ()))
    with Server(
        repository, host=host, **ports, models=models, contract=contract, extra_arguments=arguments, log=log
    ) as server:
        addresses = f"http://{server.http_url} grpc://{server.grpc_url} metrics http://{server.metrics_url}/metrics"
        with ExitStack() as opened:
            if more:
                from ai102.serve.beside import Beside

                opened.enter_context(Beside(more(f"grpc://{server.grpc_url}"), lambda line: typer.echo(line, err=True)))
            run_until_signal(server, lambda: typer.echo(f"ready: {addresses} (Ctrl-C stops it)"), opened.close)


def _programs(contract: Path | None, repository: Path, gateway: Path, listen: str, jobs: Path, traces: str) -> Programs:
    """The command lines of the API and of the worker, for a Triton at an address."""
    of_contract = ["--contract", str(contract or repository.absolute().parent / CONTRACT)]
    of_api = ["--gateway", str(gateway), *(["--listen", listen] if listen else [])]

    def programs(url: str) -> list[tuple[str, list[str]]]:
        common = ["--jobs", str(jobs), "--url", url, "--traces", traces, *of_contract]
        return [("api", ["api", "serve", *common, *of_api]), ("worker", ["jobs", "work", *common])]

    return programs
