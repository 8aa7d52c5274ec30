"""The command `python -m tests.cluster.releases`: bad and good releases, each rolled out in three ways under load."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ai102.errors import UserError
from ai102.parts import Cache
from k8s.local import addons, down, up
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from loadtest.int8_speed import machine
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.stack import IMAGES, Stack
from tests.cluster.canary.releasing import wait_taken_over
from tests.cluster.mesh.installing import ADDONS
from tests.cluster.releases import results as tables
from tests.cluster.releases.bench import PIPELINES, Bench
from tests.cluster.releases.catalogue import RELEASES, names, release_from
from tests.cluster.releases.plot import write_plot
from tests.cluster.releases.results import FILE, Results
from tests.cluster.releases.trial import Trial
from tests.cluster.releases.ways import OURS, WAYS

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
OVERLAY = Path(__file__).parent / "overlay"

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Releases, or folders with pipelines that take the place of those in service; default: all."),
]


@contextmanager
def benched() -> Iterator[Bench]:
    """Nothing of the cluster is left at the end. Raises UserError where something lacks."""
    cache, plan = Cache.of(os.environ), Plan.named("ai102-releases")
    programs = Programs.of(cache)
    stack = Stack(plan, programs.kubectl, OVERLAY, (*IMAGES, "quality-gate"), PIPELINES)
    down.down(plan)
    try:
        up.up(plan, cache, say, addons.named(ADDONS))
        stack.install()
        wait_taken_over(stack)
        with balancing(plan):
            yield Bench(stack)
    finally:
        down.down(plan)


@app.command()
def run(
    releases: Names = None,
    ways: Annotated[str, typer.Option(help=", ".join(WAYS))] = ",".join(WAYS),
    minutes: Annotated[float, typer.Option(help="No trial begins later; what lacks is tried at the next run.")] = 600,
    again: Annotated[bool, typer.Option("--again", help="Also what was tried before.")] = False,
    file: Annotated[Path, typer.Option(help="Where results are kept.")] = FILE,
) -> None:
    """Try what was not tried yet, and print the table."""
    ends = time.monotonic() + 60 * minutes
    results = Results.kept(file)
    chosen = [release_from(text) for text in releases or RELEASES]
    wanted = [(release, way) for release in chosen for way in _ways(ways)]
    wanted = [(release, way) for release, way in wanted if again or results.of(release.name, way) is None]
    if wanted:
        results.machines.append(machine())
        with benched() as bench:
            for release, way in wanted:
                if time.monotonic() > ends:
                    break
                trial = bench.trial(release, way)
                results.add(trial)
                say(line_of(trial))
    table(file)


@app.command()
def table(file: Annotated[Path, typer.Option(help="Where results are kept.")] = FILE) -> None:
    """Print the table of the kept results, and draw their plot beside them."""
    results = Results.kept(file)
    tried = [trial.release for trial in results.trials]
    bad, good = names(tried, good=False), names(tried, good=True)
    say(tables.table(results, bad, good))
    write_plot(results, bad, file.with_suffix(".png"))


@app.command()
def demo() -> None:
    """A good and a bad release, led by our canary under load, to be watched."""
    with benched() as bench:
        for name in ("better weights", "labels shuffled"):
            say(f"\n{name}: it is released, under load")
            say(line_of(bench.trial(RELEASES[name], OURS, say)))


def line_of(trial: Trial) -> str:
    parts = f"{trial.failed} failed, {trial.wrong} wrong, {trial.late} late"
    why = f": {trial.reason}" if trial.reason else ""
    return f"{trial.release}, {trial.way}: {trial.harmed} of {trial.calls} calls harmed ({parts}), {trial.verdict}{why}"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _ways(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(","))
    if unknown := [way for way in chosen if way not in WAYS]:
        raise UserError(f"there is no way {unknown[0]!r}: there are {', '.join(WAYS)}")
    return chosen


def main() -> None:
    """A user error prints its lines on stderr and exits with 2."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the cluster is removed
    try:
        app(prog_name="python -m tests.cluster.releases")
    except UserError as err:
        sys.stderr.write(f"{err}\n")
        sys.exit(err.exit_status)


if __name__ == "__main__":
    main()
