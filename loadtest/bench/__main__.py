"""Benchmark of Triton, other servers, and a session without a server: `python -m loadtest.bench`, or `make bench`.

Every server does the same work with the same model files on the same core; the client has another core. Rounds
alternate between servers.
Writes build/bench/results.json and results.png.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ai102.cli.screen import Screen
from ai102.errors import UserError
from ai102.serve.installation import allocator
from loadtest.bench.goals import CONCURRENCIES, GOALS
from loadtest.bench.peers import PEERS, CannotRunError, python_of_peers, versions_of_peers
from loadtest.bench.plot import write_plot
from loadtest.bench.processes import pin_this_process
from loadtest.bench.results import Results, WorkResult, write
from loadtest.bench.run import Settings, run
from loadtest.bench.stats import ratio_from_goal
from loadtest.bench.tables import tables_from_results
from loadtest.bench.works import BENCH, MAKERS
from loadtest.int8_speed import machine

TABLE_WIDTH = 150
QUICK_WORKS = ("image", "text", "tensor")
SERVED = ("numpy", "onnxruntime", "nvidia-pytriton", "tritonclient", "pillow", "tokenizers", "aiohttp", "grpcio")
CONTESTANTS = {"triton": "Triton", "loop": "session loop", **{peer.key: peer.name for peer in PEERS}}


def chosen(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The names in a comma-separated list. Raises UserError for an unknown one."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise UserError(f"{option}: there is no {name!r}; there are {', '.join(known)}")
    return names


def measured(works: tuple[str, ...], settings: Settings, screen: Screen) -> Iterator[Results]:
    """The results of the works so far, after each: a run of an hour that is broken off keeps them."""
    python: Path | str = "no peer was selected"
    versions = {name: version(name) for name in SERVED} | {"python": platform.python_version()}
    if settings.peers:
        try:
            python = python_of_peers(screen)
            versions |= versions_of_peers(python, settings.peers)
        except CannotRunError as err:
            python = str(err)
    done: list[WorkResult] = []
    for name in works:
        work = MAKERS[name](screen)
        done.append(run(work, settings, python, screen))
        yield _results(done, versions, settings)


def _results(done: Sequence[WorkResult], versions: Mapping[str, str], settings: Settings) -> Results:
    by_name = {result.work: result for result in done}
    return Results(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions=dict(versions),
        settings={
            "allocator": allocator(os.environ).get("LD_PRELOAD", "default"),
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "concurrencies": list(CONCURRENCIES),
            "server_core": settings.server_core,
            "client_core": settings.client_core,
        },
        works=tuple(done),
        ratios=tuple(ratio_from_goal(goal, by_name[goal.work]) for goal in GOALS if goal.work in by_name),
    )


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Two short rounds of three works: some minutes.")] = False,
    only: Annotated[str, typer.Option(help=f"The servers, of {', '.join(CONTESTANTS)}.")] = ",".join(CONTESTANTS),
    work: Annotated[str, typer.Option(help=f"The works, of {', '.join(MAKERS)}.")] = "",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds; default: 5, or 2 with --quick.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds per measurement; default: 2, or 0.6 with --quick.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder for results.json and results.png.")] = BENCH,
) -> None:
    """Measure Triton, other servers and the session without a server on the same works."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise UserError(
            "the benchmark needs two cores, one for the server and one for the client: this process may use only one"
        )
    names = chosen(only, tuple(CONTESTANTS), "--only")
    works = chosen(work, tuple(MAKERS), "--work") or (QUICK_WORKS if quick else tuple(MAKERS))
    settings = Settings(
        rounds=rounds or (2 if quick else 5),
        seconds=seconds or (0.6 if quick else 2.0),
        server_core=cores[0],
        client_core=cores[1],
        tries_variants=not quick,
        with_triton="triton" in names,
        with_loop="loop" in names,
        peers=tuple(peer for peer in PEERS if peer.key in names),
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    pin_this_process({settings.client_core})
    screen = Screen()
    for results in measured(works, settings, screen):
        write(results, output / "results.json")
    write_plot(results, output / "results.png")
    # Wider than a pipe's 80 columns: a truncated table is useless.
    console = Console(highlight=False, width=max(screen.console.width, TABLE_WIDTH))
    for table in tables_from_results(results):
        console.print(table)
        screen.say("")
    screen.say("* the client's core was saturated: the server may be faster than this")
    screen.say(f"written: {output / 'results.json'} and results.png")


if __name__ == "__main__":
    try:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(main)
        app()
    except UserError as err:
        sys.stderr.write(f"{err}\n")
        sys.exit(err.exit_status)
