"""The command `python -m tests.cluster.releases`: bad and good releases, each rolled out in three ways under load."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from ai102.errors import UserError
from ai102.images.docker import found_docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.images.saved import saved_image
from ai102.parts import Cache
from k8s.local import addons, api, down, loading, registry, up
from k8s.local.plan import ROOT, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from loadtest.int8_speed import machine
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.stack import IMAGES, NAMESPACE, Stack
from tests.cluster.canary.releasing import status
from tests.cluster.mesh.installing import ADDONS
from tests.cluster.releases import results as tables
from tests.cluster.releases.plot import write_plot
from tests.cluster.releases.results import FILE, Results
from tests.cluster.releases.trial import Images, Say, Trial, settle, tried, unwatched
from tests.cluster.releases.ways import OURS, WAYS, Rollouts
from tests.judging.bad.repository import BAD, GOOD, RELEASES

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
OVERLAY = Path(__file__).parent / "overlay"
PIPELINES = ("classify_image", "score_image")
# Of texts, whose pipeline these replicas do not serve: tests/judging judges it.
LEFT_OUT = ("truncated tokenizer",)
ANOTHER_SERVER = "another server image"
TAKEN_OVER_WITHIN_S = 400.0
BAD_NAMES = tuple(name for name in BAD if name not in LEFT_OUT)
GOOD_NAMES = (*GOOD, ANOTHER_SERVER)

Names = Annotated[list[str] | None, typer.Argument(help="Releases; default: all.")]


class Bench:
    """A cluster of its own with the release in service; images of others are pushed when they are first tried."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        analysis = api.get(stack.plan, f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/triton")
        self.rollouts = Rollouts(stack, analysis["spec"]["analysis"])
        names = loading.loaded(stack.plan)
        self.base = Images(names["ai102/models"], names["ai102/server"])

    def images(self, release: str) -> Images:
        if release == ANOTHER_SERVER:
            return Images(self.base.models, self._other_server)
        pipeline, change = RELEASES[release]
        tag = release.replace(" ", "-").replace("%", "percent").lower()
        models = self.stack.release_models(tag, lambda repository: change(repository / pipeline))
        return Images(models, self.base.server)

    def trial(self, release: str, way: str, watch: Say = unwatched) -> Trial:
        images = self.images(release)
        settle(self.rollouts, self.base)
        return tried(self.rollouts, self.stack.place(), release, way, images, watch)

    @cached_property
    def _other_server(self) -> str:
        """The server's image built anew: another digest."""
        name = reference_of(RECIPES["server"], version_of(ROOT))
        other = f"{name.rpartition(':')[0]}:anew"
        dockerfile = f"FROM {name}\nLABEL org.opencontainers.image.revision=anew\n"
        build = ["docker", "build", "--quiet", f"--tag={other}", "-"]
        subprocess.run(build, input=dockerfile, text=True, check=True, capture_output=True)
        image = saved_image(found_docker(), other, self.stack.plan.folder / "server-anew")
        (reference,) = registry.push(self.stack.plan, [image])
        return reference


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
        until(lambda: status(stack).get("phase") == "Initialized", "Flagger has taken Triton over", TAKEN_OVER_WITHIN_S)
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
    wanted = [(name, way) for name in _chosen(releases) for way in _ways(ways)]
    wanted = [each for each in wanted if again or results.of(*each) is None]
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
    say(tables.table(results, BAD_NAMES, GOOD_NAMES))
    write_plot(results, BAD_NAMES, file.with_suffix(".png"))


@app.command()
def demo() -> None:
    """A good and a bad release, led by our canary under load, to be watched."""
    with benched() as bench:
        for release in ("better weights", "labels shuffled"):
            say(f"\n{release}: it is released, under load")
            say(line_of(bench.trial(release, OURS, say)))


def line_of(trial: Trial) -> str:
    if trial.stopped_s is not None:
        verdict = f"stopped after {trial.stopped_s:.1f} s: {trial.reason}"
    elif trial.promoted_s is not None:
        verdict = f"for all callers after {trial.promoted_s:.1f} s"
    else:
        verdict = "still on its way at the end"
    harmed = f"{trial.harmed} of {trial.calls} calls harmed"
    parts = f"{trial.failed} failed, {trial.wrong} wrong, {trial.late} late"
    return (
        f"{trial.release}, {trial.way}: {harmed} ({parts}), at most {trial.most_percent:.0f} % of the calls; {verdict}"
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    known = (*BAD_NAMES, *GOOD_NAMES)
    if unknown := [name for name in names or () if name not in known]:
        raise UserError(f"there is no release {unknown[0]!r}: there are {', '.join(known)}")
    return tuple(names or known)


def _ways(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(","))
    if unknown := [way for way in chosen if way not in WAYS]:
        raise UserError(f"there is no way {unknown[0]!r}: there are {', '.join(WAYS)}")
    return chosen


def main() -> None:
    """A user error prints its lines on stderr and exits with 2."""
    try:
        app(prog_name="python -m tests.cluster.releases")
    except UserError as err:
        sys.stderr.write(f"{err}\n")
        sys.exit(err.exit_status)


if __name__ == "__main__":
    main()
