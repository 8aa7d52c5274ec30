"""What `ai102 gateway run` does: keep state and proxy up until a signal; and wait while a replica drains."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ai102 import contract
from ai102.contract.goals import goals_of
from ai102.errors import UserError
from ai102.gateway.exporter.serving import Exporter
from ai102.gateway.feed.writer import Writer
from ai102.gateway.policy import Gateway
from ai102.gateway.rendering import STATE
from ai102.gateway.renewal import Renewal
from ai102.gateway.running import PROXIES, ProxyName, Runner, taken
from ai102.gateway.traces import GatewaySpans
from ai102.masking import Masker
from ai102.masking.logs import masked
from ai102.tracing.counted import SpanCounts

FIRST_WAIT_S, LONGEST_WAIT_S, STEADY_S = 0.2, 30.0, 60.0
Say = Callable[[str], None]


def run(gateway: Gateway, home: Path, proxy: ProxyName, say: Say) -> None:
    """Hold the gateway open until Ctrl-C or TERM; UserError when it cannot be opened in the first place.

    A defect of what feeds it with revocations closes it and is raised: it must not stay open without hearing of them,
    and who supervises it must see that it failed.

    The contract beside gateway.toml, models.toml, says which model each address of the friendly API asks, and which
    pipelines are counted by name.

    A proxy that ends later is started again: callers are refused a connection for that moment, and replicas, issuer
    and friendly API do not notice. One whose certificate is renewed on disk is reloaded.
    """
    stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    promised = contract.load(home / "models.toml")
    writer = Writer(promised, home / STATE, say)
    masker = Masker.beside(home)

    def mask(text: str) -> str:
        return masked(masker, text)

    spans = GatewaySpans(gateway.traces, proxy, say, mask)
    exporter = Exporter(gateway, home, PROXIES[proxy], goals_of(promised), [SpanCounts(lambda: spans.counts)])

    def take(lines: bytes) -> None:
        exporter.take(lines)
        spans.take(lines)

    runner = Runner(gateway, home, proxy, mask=mask, count=take)
    renewal = Renewal(runner, say)
    try:
        command = runner.prepare()  # a mistake is reported before any issuer is asked
        exporter.follow(gateway)
        writer.follow(gateway)
        runner.launch(command)
        say(f"open: https://{gateway.listen.rest} grpcs://{gateway.listen.grpc} "
            f"metrics http://{gateway.listen.metrics}/metrics (Ctrl-C closes it)")  # fmt: skip
        _keep(runner, writer, exporter, spans, renewal, stop, say)
    finally:
        runner.stop()
        writer.stop()
        exporter.stop()
        spans.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _keep(
    runner: Runner,
    writer: Writer,
    exporter: Exporter,
    spans: GatewaySpans,
    renewal: Renewal,
    stop: threading.Event,
    say: Say,
) -> None:
    since, wait_s = time.monotonic(), FIRST_WAIT_S
    while not stop.is_set():
        writer.check()
        if (policy := taken(runner.home)) != runner.gateway:
            runner.gateway = policy
            writer.follow(policy)
            try:
                exporter.follow(policy)
            except UserError as err:
                say(f"{err}; metrics stay where they were")
            spans.follow(policy.traces)
        status = runner.wait(0.2)
        if status is None:
            renewal.look()
            continue
        if time.monotonic() - since > STEADY_S:
            wait_s = FIRST_WAIT_S
        say(f"{runner.proxy} ended (status {status}: {runner.why}); it starts again in {wait_s:g} s")
        runner.stop(at_once=True)
        while not stop.wait(wait_s):
            wait_s, since = min(2 * wait_s, LONGEST_WAIT_S), time.monotonic()
            renewal.taken()
            try:
                runner.start()
            except UserError as err:
                say(f"{err}; tries again in {wait_s:g} s")
            else:
                break


def drain(gateway: Gateway, home: Path, proxy: ProxyName, name: str, wait_s: float) -> None:
    """No new requests for the replica, and wait until it has none; UserError when it still has some after `wait_s`."""
    module = PROXIES[proxy]
    module.drain(gateway, home, name)
    ends = time.monotonic() + wait_s
    while busy := next(state.busy for state in module.states(gateway, home) if state.name == name):
        if time.monotonic() >= ends:
            raise UserError(f"replica {name} is drained, but still has {busy} requests after {wait_s:g} s")
        time.sleep(0.1)
