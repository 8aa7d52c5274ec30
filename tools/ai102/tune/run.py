"""One tuning run: starts a server, searches under load, and writes the results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai102 import artifact
from ai102.build import plans
from ai102.build.lock import building
from ai102.build.workspace import Workspace
from ai102.client import Client
from ai102.client.addresses import one_address_from_url
from ai102.configs import configure
from ai102.contract import contract_from_text
from ai102.errors import UserError
from ai102.progress import Reporter
from ai102.serve.server import Server
from ai102.tune import capacity, contract_file, cores
from ai102.tune.candidate import Candidate, candidate_of, choices_for, is_allowed
from ai102.tune.cores import Cores
from ai102.tune.load import OpenLoop
from ai102.tune.rate import Window
from ai102.tune.search import Outcome, Search, Trial
from ai102.tune.serving import Serving, restored
from ai102.tune.subject import Subject, requests_for, subject_of

PROBE_S = 0.7
# The largest share of the time for the final comparison; a search without an improvement needs none.
CONFIRM_SHARE = 0.3


@dataclass(frozen=True)
class Wish:
    """The user's options; None and empty: the defaults of the contract and the machine."""

    p99_ms: float | None = None
    seconds: float = 2.0
    budget_minutes: float = 5.0
    largest_batch: int | None = None
    instances: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
    url: str | None = None

    def __post_init__(self) -> None:
        """Raises UserError for values that are not above 0."""
        for option, value in (
            ("--p99-ms", self.p99_ms),
            ("--seconds", self.seconds),
            ("--budget-minutes", self.budget_minutes),
            ("--max-batch-size", self.largest_batch),
            *(("--instances", value) for value in self.instances),
            *(("--threads", value) for value in self.threads),
        ):
            if value is not None and not value > 0:
                raise UserError(f"{option} is {value:g}: write a number above 0")


@dataclass(frozen=True)
class Tuned:
    """The outcome and the conditions of the measurement."""

    subject: Subject
    goal_ms: float
    outcome: Outcome
    where: str
    samples: str
    took_s: float
    tritonserver: str
    server_cores: int | None


class _Bench:
    """The Bench of a tritonserver, with requests from the client's cores."""

    def __init__(self, serving: Serving, load: OpenLoop, runner: asyncio.Runner, seconds: float, goal_ms: float):
        self._serving, self._load, self._runner = serving, load, runner
        self._seconds, self._goal_ms = seconds, goal_ms

    def window(self, candidate: Candidate, rate: float) -> Window:
        self._serving.use(candidate)
        return self._runner.run(self._load.window(rate, self._seconds, self._goal_ms))

    def saturation(self, candidate: Candidate) -> float:
        self._serving.use(candidate)
        in_flight = max(4, 2 * candidate.max_batch_size * candidate.instances)
        return self._runner.run(self._load.saturation(PROBE_S, min(64, in_flight)))


def tune(
    workspace: Workspace, name: str, wish: Wish, report: Reporter, finish: Callable[[Serving, Tuned], None]
) -> Tuned:
    """Search for the best candidate; `finish` is called before the server's configs are restored.

    Raises UserError for an unknown model or a server that cannot be tuned, GoalNotReachedError when no candidate
    meets the goal.
    """
    start = time.monotonic()
    subject = subject_of(workspace.contract, name)
    network = workspace.network(subject.network)
    goal_ms = wish.p99_ms or network.latency_goal.p99_ms
    requests, outputs, samples = requests_for(workspace, subject)
    shared = cores.shared_out(cores.usable())
    server_cores = len(shared.server) if wish.url is None else len(cores.usable())
    choices = choices_for(
        network,
        goal_ms,
        server_cores,
        largest_batch=wish.largest_batch,
        instances=wish.instances,
        threads=wish.threads,
    )
    with ExitStack() as stack:
        url, where = stack.enter_context(_server(workspace, subject, wish.url, shared, report))
        stack.enter_context(cores.on(shared.client if wish.url is None else cores.usable()))
        client = stack.enter_context(Client(url))
        serving = Serving(client, workspace.contract, subject)
        stack.enter_context(restored(serving))
        serving.limit_ensembles(min(choices.max_batch_size))
        runner = stack.enter_context(asyncio.Runner())
        load = runner.run(_opened(url, subject.requested, requests, outputs, may_spin=shared.are_apart))
        stack.callback(lambda: runner.run(load.close()))
        search = Search(
            _Bench(serving, load, runner, wish.seconds, goal_ms),
            goal_ms,
            choices,
            lambda candidate: is_allowed(network, candidate),
            seconds_left=lambda: start + wish.budget_minutes * 60 - time.monotonic(),
            confirm_s=min(40.0, CONFIRM_SHARE * wish.budget_minutes * 60),
        )
        with report.step(f"{subject.requested}: trying configs for {wish.budget_minutes:g} min at most") as progress:
            limit_s = round(wish.budget_minutes * 60)

            def show(trial: Trial) -> None:
                report.say(f"  {line_of(trial, goal_ms)}")
                progress(min(limit_s, round(time.monotonic() - start)), limit_s)

            search.report = show
            outcome = search.run(candidate_of(network))
        tuned = Tuned(
            subject,
            goal_ms,
            outcome,
            where,
            samples,
            time.monotonic() - start,
            client.version(),
            server_cores if wish.url is None else None,
        )
        finish(serving, tuned)
    return tuned


def apply(workspace: Workspace, file: Path, serving: Serving, tuned: Tuned, say: Callable[[str], None]) -> list[str]:
    """Write the chosen candidate into models.toml and the configs that follow from it, and serve it; what was written.

    Raises UserError, and writes nothing, when models.toml would not be valid any more.
    """
    if not tuned.outcome.is_changed:
        return []
    network, candidate = workspace.network(tuned.subject.network), tuned.outcome.chosen.candidate
    with building(workspace.root, say):
        text = contract_file.with_candidate(file.read_text(encoding="utf-8"), tuned.subject.network, network, candidate)
        contract = contract_from_text(text, file)
        built = plans.per_capability(workspace) if serving.target == "tensorrt" else {}
        artifact.write_text(file, text)
        changed = configure.write(contract, workspace.repository, serving.target, built)
    serving.settle(candidate)
    return [file.name, *(f"{workspace.repository.name}/{path}" for path in changed)]


def capacity_entry(tuned: Tuned, *, is_applied: bool, command: Sequence[str]) -> dict[str, Any]:
    """The entry of capacity.json for the config in models.toml, with the better one if it was not applied."""
    outcome = tuned.outcome
    kept = outcome.chosen if is_applied or not outcome.is_changed else outcome.present
    entry: dict[str, Any] = {"goal_p99_ms": tuned.goal_ms}
    entry |= capacity.capacity_of(kept) if kept.window else {"requests_per_second_per_replica": 0.0}
    if kept.is_client_bound:
        entry["limited_by"] = "the client: the server may carry more"
    if outcome.is_changed and not is_applied:
        entry["not_applied"] = capacity.capacity_of(outcome.chosen)
    return entry | {
        "tuned_model": tuned.subject.tuned,
        "load": f"open loop, Poisson arrivals, {tuned.samples}, one a request",
        "where": tuned.where,
        "machine": capacity.machine() | {"server_cores": tuned.server_cores},
        "versions": capacity.versions(tuned.tritonserver),
        "date": capacity.today(),
        "command": " ".join(command),
    }


def line_of(trial: Trial, goal_ms: float) -> str:
    """A trial as one line of progress."""
    candidate = trial.candidate
    config = (
        f"batch {candidate.max_batch_size}, delay {candidate.max_queue_delay_us} us"
        + (f", preferred {', '.join(map(str, preferred))}" if (preferred := candidate.preferred_batch_sizes) else "")
        + f", {candidate.instances} x {candidate.threads} threads"
    )
    if trial.window is None:
        return f"{config}: {trial.note}"
    if trial.is_beaten:
        return f"{config}: less than {trial.window.rate:.4g}/s"
    more = "at least " if trial.is_client_bound else ""
    return f"{config}: {more}{trial.window.rate:.4g}/s, p99 {trial.window.p99_ms:.3g} of {goal_ms:g} ms"


async def _opened(url: str, model: str, requests: Any, outputs: Sequence[str], *, may_spin: bool) -> OpenLoop:
    return OpenLoop(url, model, requests, outputs, may_spin=may_spin)


@contextmanager
def _server(
    workspace: Workspace, subject: Subject, url: str | None, shared: Cores, report: Reporter
) -> Iterator[tuple[str, str]]:
    """The server's address and a description: the server at `url`, or a new one on its own cores."""
    if url is not None:
        one_address_from_url(url)  # a config is loaded on one server
        yield url, f"the server at {url}, its cores unknown; the client not pinned"
        return
    log = workspace.build("tune") / "tritonserver.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    server = Server(
        workspace.repository,
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        models=[subject.requested],
        contract=workspace.contract,
        log=log,
    )
    with report.step("starting tritonserver"), cores.on(shared.server):
        server.start()
    try:
        yield f"grpc://{server.grpc_url}", shared.words
    finally:
        server.stop(at_once=True)  # nobody else asks it
