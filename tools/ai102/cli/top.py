"""`ai102 top`: what pipelines, models and replicas do now."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ai102.cli.engine import CONTRACT, ContractFile

if TYPE_CHECKING:
    from ai102.top.sources import Source


def top(
    url: Annotated[
        str, typer.Option(help="A Prometheus, as http://HOST:9090; without it the processes are asked.")
    ] = "",
    gateway: Annotated[
        str, typer.Option(help="The gateway's metrics, HOST:PORT; default: listen.metrics of gateway.toml.")
    ] = "",
    triton: Annotated[
        list[str] | None,
        typer.Option(help="A Triton's metrics, [REPLICA=]HOST:PORT; repeatable; default: 127.0.0.1:8002."),
    ] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two readings.", min=0.2)] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Print one screen and end; exit 1 if something is wrong.")
    ] = False,
    form: Annotated[Literal["text", "json"], typer.Option("--format", help="json: one object a reading.")] = "text",
    policy: Annotated[Path, typer.Option(help="The gateway's policy file, for its address.")] = Path("gateway.toml"),
    contract: ContractFile = CONTRACT,
) -> None:
    """Show rates, latency, batches, queues and replicas live, the worst first; Ctrl-C ends it."""
    from rich.console import Console

    from ai102.top import watch
    from ai102.top.screen import screen

    source = _source(url, gateway, triton or [], policy, contract)
    console = Console(highlight=False)
    if not once and (form == "json" or console.is_terminal):
        over = threading.Event()

        def interrupted(*_: Any) -> None:
            over.set()  # Python drops an exception that is raised in a finalizer
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, interrupted)
        with suppress(KeyboardInterrupt):
            if form == "json":
                for line in watch.lines(source, interval, over):
                    typer.echo(line)
                return
            watch.live(source, interval, console, over)
        return
    judged = watch.once(source, interval)
    if form == "json":
        typer.echo(watch.line(judged))
    else:
        console.print(screen(judged, console.width))
    raise typer.Exit(1 if judged.wrong else 0)


def _source(url: str, gateway: str, tritons: list[str], policy: Path, contract: Path) -> Source:
    from ai102 import contract as contracts
    from ai102.contract.goals import goals_of
    from ai102.gateway import policy as policies
    from ai102.top import sources
    from ai102.top.reading import Goal

    promised = goals_of(contracts.load(contract)) if contract.is_file() else {}
    goals = {name: Goal(goal.success_percent / 100, goal.p99_ms / 1000) for name, goal in promised.items()}
    if url:
        return sources.prometheus(url, goals)
    processes = [sources.process(triton) for triton in tritons]
    if gateway or tritons:
        return sources.processes(sources.process(gateway) if gateway else None, processes, goals)
    listens = policies.load(policy).listen.metrics if policy.is_file() else sources.GATEWAY
    return sources.usual_processes(sources.process(listens), [sources.process(sources.TRITON)], goals)
