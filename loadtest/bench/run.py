"""Measures one work: starts and checks every server, then runs alternating rounds; only the measured server runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from ai102.errors import UserError
from ai102.progress import Reporter
from loadtest.bench.contestants import Contestant, expected_of, of_peer, of_triton
from loadtest.bench.goals import CONCURRENCIES, GRPC, HTTP, LOOP, LOOP_BATCHED, SATURATED, SHM
from loadtest.bench.hosts import LoopHost, PeerHost, TritonHost
from loadtest.bench.peers import CannotRunError, Peer
from loadtest.bench.results import Round, ServerRow, WorkResult
from loadtest.bench.stats import cell_from_rounds
from loadtest.bench.works import Work

TRIAL_S = 1.0


@dataclass(frozen=True)
class Settings:
    rounds: int
    seconds: float
    server_core: int
    client_core: int
    tries_variants: bool
    with_triton: bool
    with_loop: bool
    peers: tuple[Peer, ...]


@dataclass
class LoopContestant:
    """The session without a server; a batch of n is compared with n requests in flight."""

    name: str
    host: LoopHost
    concurrencies: tuple[int, ...]
    max_batch_size: int

    def measure(self, concurrency: int, seconds: float) -> Round:
        return self.host.measure(min(concurrency, self.max_batch_size), seconds)


def run(work: Work, settings: Settings, python: Path | str, report: Reporter) -> WorkResult:
    """`python` is the peers' interpreter, or the reason why there is none."""
    rows: dict[str, ServerRow] = {}
    contestants: list[Contestant | LoopContestant] = []
    expected = cache(partial(expected_of, work))
    with ExitStack() as hosts:
        if settings.with_loop:
            contestants += _loops(work, settings, hosts, rows)
        if settings.with_triton:
            report.say(f"{work.name}: Triton")
            contestants += _triton(work, settings, hosts, expected(work.engine), rows)
        for peer in settings.peers:
            report.say(f"{work.name}: {peer.name}")
            try:
                if isinstance(python, str):
                    raise CannotRunError(python)
                answers = expected(peer.engine(work))
                contestants.append(_best_variant(peer, work, settings, python, hosts, answers, rows))
            except CannotRunError as err:
                rows[peer.name] = ServerRow(server=peer.name, not_measured=str(err))
        rounds_of = _rounds(work.name, contestants, settings, report)
    cells = [cell_from_rounds(name, concurrency, rounds) for (name, concurrency), rounds in rounds_of.items()]
    return WorkResult(work=work.name, about=work.about, servers=tuple(rows.values()), cells=tuple(cells))


def _rounds(
    name: str, contestants: Sequence[Contestant | LoopContestant], settings: Settings, report: Reporter
) -> dict[tuple[str, int], list[Round]]:
    rounds_of: dict[tuple[str, int], list[Round]] = {}
    turns = [(one, concurrency) for concurrency in CONCURRENCIES for one in contestants]
    turns = [(one, concurrency) for one, concurrency in turns if concurrency in one.concurrencies]
    with report.step(f"{name}: {settings.rounds} rounds of {len(turns)} measurements") as progress:
        for number in range(settings.rounds):
            # Every other round runs in reverse order, so that no server always follows the same one.
            for place, (one, concurrency) in enumerate(turns if number % 2 == 0 else turns[::-1]):
                one.host.wake()
                try:
                    result = one.measure(concurrency, settings.seconds)
                finally:
                    one.host.rest()
                rounds_of.setdefault((one.name, concurrency), []).append(result)
                progress(number * len(turns) + place + 1, settings.rounds * len(turns))
    return rounds_of


def _loops(work: Work, settings: Settings, hosts: ExitStack, rows: dict[str, ServerRow]) -> list[LoopContestant]:
    host = LoopHost(work, settings.server_core)
    hosts.callback(host.stop)
    rss, pss = host.memory_mb()
    for name in (LOOP, LOOP_BATCHED):
        rows[name] = ServerRow(server=name, rss_mb=rss, pss_mb=pss)
    host.rest()
    largest = work.max_batch_size
    return [LoopContestant(LOOP, host, (1,), largest), LoopContestant(LOOP_BATCHED, host, CONCURRENCIES[1:], largest)]


def _triton(
    work: Work, settings: Settings, hosts: ExitStack, expected: Sequence[object], rows: dict[str, ServerRow]
) -> list[Contestant]:
    try:
        host = TritonHost(work, settings.server_core)
    except UserError as err:
        for name in (HTTP, GRPC, SHM):
            rows[name] = ServerRow(server=name, not_measured=str(err))
        return []
    hosts.callback(host.stop)
    kept = []
    start_s = None
    for one in of_triton(work, host):
        try:
            first = one.first_answer()
            start_s = start_s or first  # the server is started once, for all its protocols
            sent, received = one.check(expected)
        except CannotRunError as err:
            rows[one.name] = ServerRow(server=one.name, not_measured=str(err))
            continue
        one.measure(SATURATED, TRIAL_S)
        rss, pss = host.memory_mb()
        rows[one.name] = ServerRow(
            server=one.name, start_s=start_s, rss_mb=rss, pss_mb=pss, request_bytes=sent, answer_bytes=received
        )
        kept.append(one)
    host.rest()
    return kept


def _best_variant(
    peer: Peer,
    work: Work,
    settings: Settings,
    python: Path,
    hosts: ExitStack,
    expected: Sequence[object],
    rows: dict[str, ServerRow],
) -> Contestant:
    """The fastest variant, started, warm and resting. Raises CannotRunError with the last reason if none runs."""
    best: Contestant | None = None
    tried: dict[str, float] = {}
    failed: CannotRunError | None = None
    for variant in peer.variants if settings.tries_variants else peer.variants[:1]:
        host = PeerHost(peer, variant, python, work, settings.server_core)
        hosts.callback(host.stop)
        one = of_peer(work, host, peer.requests, peer.name, variant)
        try:
            start_s = one.first_answer()
            sent, received = one.check(expected)
        except CannotRunError as err:
            failed = err
            host.stop()
            continue
        # The better of two: some servers adapt their batching delay in the first.
        tried[variant] = max(one.measure(SATURATED, TRIAL_S).per_s for _ in range(2))
        rss, pss = host.memory_mb()
        if best is None or tried[variant] > tried[best.variant]:
            if best is not None:
                best.host.stop()
            best = one
            rows[peer.name] = ServerRow(
                server=peer.name, variant=variant, start_s=start_s, rss_mb=rss, pss_mb=pss,
                request_bytes=sent, answer_bytes=received,
            )  # fmt: skip
            host.rest()
        else:
            host.stop()
    if best is None:
        assert failed is not None
        raise failed
    rows[peer.name] = rows[peer.name].model_copy(update={"tried": tried})
    return best
