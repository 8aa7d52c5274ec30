"""The command `ai102`: one verb a step of the road, each a thin call into one room."""

from __future__ import annotations

import errno
import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ai102.cli import add, api, auth, builds, engine, lint, masking, seal, tune
from ai102.cli import gateway as cli_gateway
from ai102.cli.engine import CONTRACT, ContractFile, Networks
from ai102.errors import UserError

# Everything else of ours is imported inside the verbs: `ai102 --help` must not wait for a framework.

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def export(networks: Networks = None, contract: ContractFile = CONTRACT) -> None:
    """Weights to FP32 ONNX, checked against PyTorch."""
    from ai102.build import steps

    _each(steps.export, networks, contract)


@app.command()
def calibrate(
    networks: Networks = None,
    method: Annotated[
        Literal["minmax", "percentile", "entropy"] | None, typer.Option(help="Another method than the recipe's.")
    ] = None,
    percentile: Annotated[float, typer.Option(help="For the method of that name.")] = 99.999,
    contract: ContractFile = CONTRACT,
) -> None:
    """Find the range of every activation on the calibration set."""
    from ai102.build import steps
    from ai102.contract import Recipe

    if not 50 < percentile < 100:
        raise UserError(f"--percentile is {percentile:g}: write a number between 50 and 100, such as 99.999")
    chosen = Recipe(method=method, percentile=percentile if method == "percentile" else None) if method else None
    _each(lambda workspace, name, screen: steps.calibrate(workspace, name, screen, chosen), networks, contract)


@app.command()
def quantize(
    networks: Networks = None,
    search: Annotated[
        bool, typer.Option("--search", help="First find the recipe: calibration/recipes/NET.toml.")
    ] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Ranges to an INT8 ONNX file, judged against the accuracy budget (over it: exit 3)."""
    from ai102.build import steps

    if search:
        _each(steps.search, networks, contract)
    _each(steps.quantize, networks, contract)


app.add_typer(engine.app, name="engine", help="All of the road; or: doctor, build-script, verify-gpu.")
app.add_typer(cli_gateway.app, name="gateway", help="The guarded door: render, certs, run, reload, drain, status.")
app.add_typer(auth.app, name="auth", help="The issuer: serve, user, token, revoke, rotate-keys, explain.")
app.add_typer(api.app, name="api", help="The friendly API and its page: serve.")
app.add_typer(seal.keys, name="keys", help="Keys of sealed payloads and bundles: new, rotate, list.")
app.add_typer(seal.bundle, name="bundle", help="A model repository as one encrypted file: seal, open.")
app.add_typer(masking.app, name="masking", help="What logs must not tell: check, apply, reveal, export.")


app.command()(add.add)
app.command()(add.remove)
app.command()(builds.models)
app.command()(builds.rollback)
app.command()(lint.lint)
app.command()(tune.tune)
app.command()(tune.explain)


@app.command("check-qdq")
def check_qdq(
    file: Annotated[Path, typer.Argument(help="An ONNX file with QuantizeLinear and DequantizeLinear.")],
    verbose: Annotated[bool, typer.Option("--verbose", help="A line for every node.")] = False,
) -> None:
    """What TensorRT would refuse in a Q/DQ graph, or quietly run otherwise than meant (found any: exit 1)."""
    from ai102.int8.qdq.report import report_lines

    lines, is_broken = report_lines(file, verbose=verbose)
    for line in lines:
        typer.echo(line)
    if is_broken:
        raise typer.Exit(1)


@app.command()
def report(networks: Networks = None, contract: ContractFile = CONTRACT) -> None:
    """What quantization did, as a page: calibration/reports/NET.html, and as JSON beside it."""
    from ai102.build.report.write import write

    _each(write, networks, contract)


@app.command()
def configure(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when a file is stale.")] = False,
    target: Annotated[
        Literal["onnxruntime", "tensorrt"], typer.Option(help="tensorrt: INT8 networks as plans on a GPU.")
    ] = "onnxruntime",
    contract: ContractFile = CONTRACT,
) -> None:
    """Write every config.pbtxt, label file and Python model of model_repository from models.toml."""
    from contextlib import nullcontext

    from ai102.build import plans
    from ai102.build.lock import opened
    from ai102.build.workspace import Workspace
    from ai102.configs import configure as configs

    with nullcontext(Workspace.of(contract)) if check else opened(contract, typer.echo) as workspace:
        built = plans.per_capability(workspace) if target == "tensorrt" else {}
        if check:
            configs.check(workspace.contract, workspace.repository, target, built)
            return
        for path in configs.write(workspace.contract, workspace.repository, target, built):
            verb = "wrote" if (workspace.repository / path).exists() else "removed"
            typer.echo(f"{verb} {workspace.repository.name}/{path}")


@app.command()
def serve(
    repository: Annotated[Path, typer.Option(help="The model repository to serve.")] = Path("model_repository"),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="HTTP port; 0: any free one.", min=0, max=65535)] = 8000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0: any free one.", min=0, max=65535)] = 8001,
    metrics_port: Annotated[int, typer.Option(help="Prometheus port; 0: any free one.", min=0, max=65535)] = 8002,
    model: Annotated[list[str] | None, typer.Option(help="Load only this model; may be repeated.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Serve this bundle, opened in memory, instead of --repository.")
    ] = None,
    keys: Annotated[Path, typer.Option(help="The folder of the bundle's key.")] = seal.HOME,
    replicas: Annotated[
        int, typer.Option(help="So many servers, at the addresses of gateway.toml, for a door.", min=0)
    ] = 0,
    gateway: Annotated[Path, typer.Option(help="Where --replicas finds its addresses.")] = Path("gateway.toml"),
    triton: Annotated[
        list[str] | None, typer.Argument(help="Arguments for tritonserver itself, after --.", metavar="[-- ARG...]")
    ] = None,
) -> None:
    """Start a tritonserver on the model repository; Ctrl-C stops it."""
    from contextlib import ExitStack

    from ai102.masking import Masker
    from ai102.masking.logs import masked
    from ai102.serve.server import Server, run_until_signal

    masker = Masker.beside(gateway.absolute().parent)

    def log(line: str) -> None:
        typer.echo(masked(masker, line), err=True)

    with ExitStack() as opened:
        if bundle is not None:
            from ai102.seal.bundle import opened_in_memory

            repository = opened.enter_context(opened_in_memory(bundle, seal.ring_of(keys)))
        if replicas:
            from ai102.gateway import policy
            from ai102.gateway.replicas import serve_replicas

            told, home = policy.load(gateway), gateway.absolute().parent
            serve_replicas(
                told, home, replicas, repository, models=model, extra_arguments=triton or (), say=typer.echo, log=log
            )
            return
        server = Server(
            repository,
            host=host,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            models=model,
            extra_arguments=triton or (),
            log=log,
        )
        opened.enter_context(server)
        typer.echo(
            f"ready: http://{server.http_url} grpc://{server.grpc_url} "
            f"metrics http://{server.metrics_url}/metrics (Ctrl-C stops it)"
        )
        run_until_signal(server)


@app.command()
def infer(
    ensemble: Annotated[str, typer.Argument(help="An ensemble of models.toml, such as classify_image.")],
    items: Annotated[list[str], typer.Argument(help="Image files, or texts.")],
    protocol: Annotated[Literal["http", "grpc"], typer.Option(help="How to ask.")] = "grpc",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of the server; default 127.0.0.1 and Triton's port.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array instead of a table.")] = False,
    contract: ContractFile = CONTRACT,
) -> None:
    """Ask a served ensemble about images or texts."""
    from ai102.build.workspace import Workspace
    from ai102.cli import screen as console
    from ai102.client import ask as room

    url = f"{protocol}://{address or ('127.0.0.1:8000' if protocol == 'http' else '127.0.0.1:8001')}"
    answers = list(room.answers(Workspace.of(contract).contract, url, ensemble, items))
    if as_json:
        typer.echo(json.dumps([console.answer_as_dict(answer) for answer in answers], ensure_ascii=False, indent=1))
    else:
        console.print_answers(answers)
    for answer in answers:
        if answer.outputs.get("truncated"):
            typer.echo(
                f"warning: {answer.item[:40]!r}...: longer than the network reads; its end was dropped", err=True
            )
    if any(answer.error for answer in answers):
        raise typer.Exit(2)


@app.command()
def verify(
    network: Annotated[str, typer.Argument(help="A network of models.toml.")],
    url: Annotated[
        str | None, typer.Option(help="A running server, as grpc://HOST:PORT; default: one of its own.")
    ] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """The test split through the served ensemble and through PyTorch, side by side (they disagree: exit 1)."""
    from ai102.build import verify as room
    from ai102.build.workspace import Workspace
    from ai102.cli import screen as console

    if not room.verify(Workspace.of(contract), network, url, console.Screen()):
        raise typer.Exit(1)


@app.command()
def demo(contract: ContractFile = CONTRACT) -> None:
    """Build, serve and ask everything once, and sum up what was seen."""
    from ai102.build.workspace import Workspace
    from ai102.cli import demo as room
    from ai102.cli import screen as console

    room.run(Workspace.of(contract), console.Screen())


def _each(step: object, networks: list[str] | None, contract_file: Path) -> None:
    from ai102.build.lock import opened
    from ai102.cli.screen import Screen

    assert callable(step)
    screen = Screen()
    with opened(contract_file, screen.say) as workspace:
        for name in networks or workspace.contract.networks:
            step(workspace, name, screen)


def main() -> None:
    """Entry point: a mistake of the user's is one line on stderr and exit 2, ours a traceback."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was begun is undone
    try:
        app()
    except UserError as err:
        typer.echo(f"ai102: {err}", err=True)
        sys.exit(err.exit_status)
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        where = err.filename or "the disk"
        typer.echo(
            f"ai102: {where}: {err.strerror}: free some space or choose another place, and run it again", err=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("ai102: interrupted; what was done so far is kept", err=True)
        sys.exit(130)
