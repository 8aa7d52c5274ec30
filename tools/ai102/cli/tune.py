"""Subcommands about serving performance: tune, explain."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ai102.cli.engine import CONTRACT, ContractFile
from ai102.errors import UserError

if TYPE_CHECKING:
    from ai102.tune.run import Tuned
    from ai102.tune.serving import Serving


def tune(
    model: Annotated[str, typer.Argument(help="A network, one of its models, or an ensemble of models.toml.")],
    p99_ms: Annotated[float | None, typer.Option(help="The p99 goal; default: the network's latency_goal.")] = None,
    seconds: Annotated[float, typer.Option(help="Duration of one measurement.")] = 2.0,
    budget_minutes: Annotated[float, typer.Option(help="Approximate limit of the whole run.")] = 5.0,
    max_batch_size: Annotated[int | None, typer.Option(help="The largest batch to try.")] = None,
    instances: Annotated[str, typer.Option(help="Instance counts to try, such as 1,2.")] = "",
    threads: Annotated[str, typer.Option(help="Threads per instance to try, such as 1,2.")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Write a better config into models.toml.")] = False,
    url: Annotated[
        str | None,
        typer.Option(help="A server in explicit mode, as grpc://HOST:PORT; default: start one."),
    ] = None,
    contract: ContractFile = CONTRACT,
) -> None:
    """Find the batching, instances and threads with the highest rate under a p99 goal (exit 3 if none reaches it)."""
    from ai102.build.workspace import Workspace
    from ai102.cli.screen import Screen
    from ai102.tune import capacity
    from ai102.tune import run as tuning
    from ai102.tune.table import table_of

    wish = tuning.Wish(
        p99_ms, seconds, budget_minutes, max_batch_size, _numbers("--instances", instances),
        _numbers("--threads", threads), url,
    )  # fmt: skip
    workspace, screen = Workspace.of(contract), Screen()
    written: list[str] = []

    def finish(serving: Serving, tuned: Tuned) -> None:
        if apply:
            written.extend(tuning.apply(workspace, contract, serving, tuned, screen.say))

    tuned = tuning.tune(workspace, model, wish, screen, finish)
    file = workspace.home / "loadtest" / "capacity.json"
    command = ["ai102", *map(shlex.quote, sys.argv[1:])]
    capacity.write(
        file, tuned.subject.requested, tuning.capacity_entry(tuned, is_applied=bool(written), command=command)
    )
    screen.console.print()
    screen.console.print(table_of(tuned))
    screen.say(f"{tuned.outcome.verdict}; {tuned.where}; {tuned.samples}; {tuned.took_s:.0f} s")
    if tuned.outcome.chosen.is_client_bound:
        screen.say("the client is the bottleneck here, not the server: the server's rate is at least that")
    for path in [*written, str(file.relative_to(workspace.home))]:
        screen.say(f"wrote {path}")
    if tuned.outcome.is_changed and not apply:
        screen.say("models.toml is unchanged; --apply writes the best config into it")


def explain(
    model: Annotated[str | None, typer.Argument(help="A model of the server; default: all.")] = None,
    url: Annotated[
        str, typer.Option(help="The server, as grpc://HOST:PORT or http://HOST:PORT.")
    ] = "grpc://127.0.0.1:8001",
    metrics_url: Annotated[
        str | None, typer.Option(help="Its metrics, which say why requests failed, as http://HOST:8002.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to observe; 0: since the models were loaded.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Report how a running server spends its time, whether batches form, and what to change."""
    from ai102.cli.screen import Screen
    from ai102.explain import words
    from ai102.explain.run import explain as explained_server

    explained = explained_server(url, model, seconds, metrics_url, Screen() if not as_json else None)
    if as_json:
        typer.echo(json.dumps(words.as_dict(explained), indent=1))
    else:
        words.show(explained, Screen().console)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if text)
    except ValueError as err:
        raise UserError(f'{option} is "{text}": write whole numbers with commas between them, such as 1,2') from err
