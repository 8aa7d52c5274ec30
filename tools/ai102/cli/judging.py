"""The subcommand release judge: a canary's answers against the version in service, until there is a decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ai102.cli.engine import CONTRACT, ContractFile
from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.judging.judgement import Judgement

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
    serve: Annotated[
        str, typer.Option(help="HOST:PORT: answer Flagger's webhooks there, and judge when Flagger asks.")
    ] = "",
    answers: Annotated[
        str, typer.Option(help="HOST:PORT: with --serve, take records of live answers there, and let them stop it.")
    ] = "",
    joined: Annotated[
        int,
        typer.Option(help="Copies of live calls that both must have answered before a promotion; 0: no copies.", min=0),
    ] = 0,
    differing: Annotated[
        float, typer.Option(help="Percent of copied calls whose answers may differ.", min=0.1, max=90)
    ] = 5.0,
    token_file: Annotated[Path | None, typer.Option(help="A file with a token for the gateway.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="The authority of the servers' certificates, PEM.")] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """Replay held-out samples through a canary and decide (exit 0 promote, 1 stop, 3 undecided)."""
    from ai102.build.workspace import Workspace
    from ai102.client import Tls
    from ai102.judging import report
    from ai102.judging.judgement import Judgement, Look, judge_between
    from ai102.judging.live.trial import Trial
    from ai102.judging.memory import reader_of
    from ai102.judging.subject import subjects_of

    workspace = Workspace.of(contract)
    names = [name.strip() for name in models.split(",") if name.strip()]
    subjects = subjects_of(workspace.contract, workspace.sets, names, samples)
    if primary and _protocol(primary) != _protocol(canary):
        raise UserError(
            f"--canary is {canary} and --primary {primary}: name both by the same protocol, "
            "since their latency is compared"
        )
    if answers and not serve:
        raise UserError("--answers takes records of live answers while --serve answers webhooks: give both")
    if joined and not answers:
        raise UserError("--joined waits for records of live answers: say by --answers where they are taken")
    if out is not None and out.is_file():
        raise UserError(f"--out: {out} is a file: name a folder")
    headers = {"authorization": f"Bearer {_token(token_file)}"} if token_file else {}
    tls = Tls(ca_file=ca_file) if ca_file else None

    def new() -> Judgement:
        return Judgement(canary, primary, share)

    def run(judgement: Judgement, look: Look, trial: Trial | None = None) -> Judgement:
        read = reader_of(metrics) if metrics else trial.read_memory if trial else None
        replicas = trial.replicas if trial else lambda: 1
        return judge_between(judgement, subjects, headers, tls, read, look, replicas)

    if serve:
        from ai102.judging import serve as serving
        from ai102.judging.checks.agree import far
        from ai102.judging.webhook import Canary, Gate, Kept

        far_of = {target.model: far(one.network.budget) for one in subjects for target in one.targets}

        def new_trial() -> Trial | None:
            return Trial(joined, differing / 100, far_of) if answers else None

        def keep(about: Canary, kept: Kept) -> None:
            live = kept.trial.as_dict() if kept.trial else None
            facts = kept.judgement.as_dict(live)
            name = f"{about.namespace}/{about.name} {kept.checksum}"
            typer.echo(f"{name}: {facts['verdict']}: {facts['reason']}", err=True)
            if out is not None:
                report.write(kept.judgement, out, f"{about.namespace}.{about.name}.{kept.checksum or 'canary'}", live)

        serving.serve(serve, Gate(new, run, keep, new_trial), lambda line: typer.echo(line, err=True), answers)
        return
    judgement = run(new(), lambda judgement: None)
    if format == "json":
        typer.echo(json.dumps(judgement.as_dict(), indent=1))
    else:
        for finding in judgement.findings:
            typer.echo(f"{finding.state:6} {finding.subject}: {finding.check}: {finding.sentence}")
        typer.echo(_line(judgement))
    if out is not None:
        for file in report.write(judgement, out):
            typer.echo(f"wrote {file}", err=True)
    raise typer.Exit(STATUSES[judgement.verdict])


def _protocol(url: str) -> str:
    return url.partition("://")[0]


def _line(judgement: Judgement) -> str:
    return f"{judgement.verdict}: {judgement.reason}"


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as err:
        raise UserError(f"--token-file: cannot read {file} ({err.strerror})") from err
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"--token-file: {file} does not hold one token")
    return token
