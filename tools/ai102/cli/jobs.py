"""Subcommands of `ai102 jobs`: submit, work, status, dead, put-back, erase."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ai102.cli.engine import CONTRACT, ContractFile

if TYPE_CHECKING:
    from ai102.jobs.ledger.ledger import Ledger

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
FOLDER = Path("build/jobs")
Folder = Annotated[Path, typer.Option("--jobs", help="The folder with the ledger and the queue.", metavar="FOLDER")]

LEDGER = typer.Option(
    "--ledger",
    envvar="AI102_JOBS_LEDGER",
    help="Another ledger, as postgresql+psycopg://USER@HOST/NAME; default: SQLite in the folder.",
    metavar="URL",
    show_envvar=True,
)
LedgerUrl = Annotated[str, LEDGER]
LedgerPassword = Annotated[
    Path | None,
    typer.Option(
        "--ledger-password",
        envvar="AI102_JOBS_LEDGER_PASSWORD",
        help="The file with the password of the ledger's user.",
        metavar="FILE",
        show_envvar=True,
    ),
]
Fsync = Annotated[
    bool,
    typer.Option("--fsync", help="What SQLite commits outlives a power cut; every commit then waits for the disk."),
]
Sidecar = Annotated[
    str,
    typer.Option(
        "--dapr",
        envvar="AI102_JOBS_DAPR",
        help="Dapr's HTTP API, http://127.0.0.1:3500, in place of the queue in the folder.",
        metavar="URL",
        show_envvar=True,
    ),
]

KEY_FILE = "callback.key"
CallbackKey = Annotated[
    Path | None,
    typer.Option(
        "--callback-key", help=f"The file with the key that signs callbacks; default: {KEY_FILE} in the folder.",
        metavar="FILE",
    ),
]  # fmt: skip


@app.callback()
def jobs() -> None:
    """Asynchronous jobs: handed in at /v1/jobs of the API, done by workers."""


@app.command()
def submit(
    files: Annotated[list[str], typer.Argument(help="Folders with files, or files.", metavar="FOLDER_OR_FILE...")],
    pipeline: Annotated[str, typer.Option(help="The pipeline or model that is asked, such as classify_image.")],
    out: Annotated[Path, typer.Option(help="Where results go: .parquet, .csv or .jsonl.", metavar="FILE")],
    url: Annotated[str, typer.Option(help="The API or the gateway.")] = "http://127.0.0.1:8090",
    priority: Annotated[Literal["high", "normal", "low"], typer.Option(help="Which jobs are taken first.")] = "normal",
    token_file: Annotated[
        Path | None, typer.Option(help="The file with the gateway's token.", metavar="FILE", dir_okay=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="The authority of the gateway's certificate.", metavar="FILE")
    ] = None,
) -> None:
    """Hand in every file as a job, and write all results as one table (exit 1 if a file has no outputs).

    What was done is in OUT.jobs until OUT is written: after Ctrl-C or a failure the same command goes on from there.
    Hidden files are left out.
    """
    from ai102.cli.screen import Screen
    from ai102.client import Tls
    from ai102.jobs.submit.run import Wanted, token_from_file
    from ai102.jobs.submit.run import submit as run

    token = token_from_file(token_file) if token_file else ""
    tls = Tls(ca_file=ca_file) if ca_file else None
    screen = Screen()
    with screen.counts(("handed in", "done")) as move:
        outcome = run(
            Wanted(tuple(files), pipeline, out, url, priority, token, tls),
            lambda counts: move(counts.total, (counts.handed_in, counts.done)),
        )
    states = ", ".join(f"{count} {state}" for state, count in outcome.counts.items())
    screen.say(f"{out}: {sum(outcome.counts.values())} files: {states}")
    if failure := outcome.first_failure:
        typer.echo(f"the first without outputs: {failure.file}: {failure.state}: {failure.error}", err=True)
        raise typer.Exit(1)


@app.command()
def work(
    url: Annotated[str, typer.Option(help="Triton, as grpc://HOST:PORT,HOST:PORT.")] = "grpc://127.0.0.1:8001",
    folder: Folder = FOLDER,
    ledger: LedgerUrl = "",
    ledger_password: LedgerPassword = None,
    dapr: Sidecar = "",
    app_address: Annotated[
        str,
        typer.Option(
            "--app",
            envvar="AI102_JOBS_APP",
            help="Where Dapr's sidecar brings jobs.",
            metavar="HOST:PORT",
            show_envvar=True,
        ),
    ] = "127.0.0.1:3501",
    direct_calls: Annotated[
        str,
        typer.Option(
            help="How direct calls are seen, which go first: triton, by each server of --url; the address of a "
            "gateway's metrics, http://HOST:8405/metrics, where --url is a gateway; or none.",
        ),
    ] = "triton",
    fsync: Fsync = False,
    max_calls: Annotated[int, typer.Option(help="Concurrent requests to Triton.", min=1)] = 2,
    lease_s: Annotated[
        float, typer.Option(help="A worker that was killed loses its jobs to the next after this time.", min=1)
    ] = 60.0,
    key_file: CallbackKey = None,
    callback_network: Annotated[
        list[str] | None,
        typer.Option(help="A network that callbacks may reach beside public addresses; repeatable.", metavar="CIDR"),
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="Where Prometheus gets the worker's metrics; default: nowhere.", metavar="HOST:PORT")
    ] = "",
    traces: Annotated[str, typer.Option(help="The collector's OTLP over HTTP, http://HOST:4318; default: none.")] = "",
    contract: ContractFile = CONTRACT,
) -> None:
    """Do the jobs in the folder with a Triton; Ctrl-C stops it, and what it holds is done by the next worker."""
    from ai102 import contract as spec
    from ai102.jobs import callbacks
    from ai102.jobs.callbacks import networks_from
    from ai102.jobs.service import Options
    from ai102.jobs.worker.serve import serve
    from ai102.jobs.worker.worker import Settings, models_of
    from ai102.masking import Masker
    from ai102.masking.logs import masked

    masker = Masker.beside(contract.absolute().parent)
    settings = Settings(max_calls=max_calls, lease_s=lease_s)
    serve(
        Options(folder, ledger, ledger_password, dapr, app_address, fsync=fsync),
        url,
        direct_calls,
        models_of(spec.load(contract)),
        settings,
        callbacks.Settings(callbacks.master_key(key_file or folder / KEY_FILE), networks_from(callback_network or [])),
        lambda line: typer.echo(line, err=True),
        metrics,
        traces,
        lambda text: masked(masker, text),
    )


@app.command()
def status(folder: Folder = FOLDER, ledger: LedgerUrl = "", ledger_password: LedgerPassword = None) -> None:
    """How many jobs are in each state."""
    for state, count in _ledger(folder, ledger, ledger_password).count_by_state().items():
        typer.echo(f"{state.value:<10} {count:>10}")


@app.command()
def dead(
    folder: Folder = FOLDER,
    ledger: LedgerUrl = "",
    ledger_password: LedgerPassword = None,
    limit: Annotated[int, typer.Option(help="How many to print.", min=1)] = 100,
) -> None:
    """The dead-letter list: jobs that were given up after five attempts, the newest first, and why."""
    from ai102.jobs.job import State

    for job in _ledger(folder, ledger, ledger_password).page(None, State.DEAD, limit=limit):
        typer.echo(f"{job.id}  {job.owner or '-'}  {job.model}  {job.error}")


@app.command(name="put-back")
def put_back(
    ids: Annotated[list[str], typer.Argument(help="Jobs of the dead-letter list.", metavar="ID...")],
    folder: Folder = FOLDER,
    ledger: LedgerUrl = "",
    ledger_password: LedgerPassword = None,
) -> None:
    """Queue dead jobs again, with all their attempts."""
    from ai102.errors import UserError

    queued = _ledger(folder, ledger, ledger_password).put_back(ids)
    typer.echo(f"{len(queued)} jobs are queued again; the worker looks for them within seconds")
    if strange := sorted(set(ids) - queued):
        raise UserError(f"{strange[0]} is not on the dead-letter list of {folder}")


@app.command()
def erase(
    caller: Annotated[str, typer.Option(help="Whose jobs.")],
    folder: Folder = FOLDER,
    ledger: LedgerUrl = "",
    ledger_password: LedgerPassword = None,
) -> None:
    """Remove all inputs and results of a caller, whatever their state."""
    kept = _ledger(folder, ledger, ledger_password)
    count = 0
    while part := kept.erase(caller):
        count += part
    kept.compact()
    typer.echo(f"{count} jobs of {caller} are removed, with inputs and results, and their bytes overwritten")
    typer.echo("A backup of the ledger made before holds them until it is removed itself; no other copy is ours.")


@app.command(name="callback-key")
def callback_key(
    caller: Annotated[str, typer.Option(help="Who receives callbacks.")],
    folder: Folder = FOLDER,
    key_file: CallbackKey = None,
) -> None:
    """Print the key with which a caller checks the signature of its callbacks, as Standard Webhooks writes it."""
    from base64 import b64encode

    from ai102.jobs.callbacks import key_of, master_key

    key = key_of(master_key(key_file or folder / KEY_FILE), caller)
    typer.echo(f"whsec_{b64encode(key).decode()}")


def _ledger(folder: Path, url: str, password_file: Path | None) -> Ledger:
    from ai102.errors import UserError
    from ai102.jobs.service import Options

    if not url and not (folder / "ledger.db").is_file():
        raise UserError(f"{folder} holds no jobs: name the folder that `ai102 api serve --jobs` was given")
    return Options(folder, url, password_file).ledger()
