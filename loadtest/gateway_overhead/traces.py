"""What traces cost: `python -m loadtest.gateway_overhead.traces --collector http://127.0.0.1:4318`, four minutes.

Two whole stacks in one run, each a tritonserver and `ai102 gateway run` as a person starts them. One has no traces, one
samples SAMPLE_PERCENT of its calls and sends the spans of gateway and Triton to the collector. They are asked in
turns, each round in the other order. Client, both stacks and the collector share all cores. Prints medians over the
rounds, with their quartiles. Goal: at least 0.98 of the throughput.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import tomlkit
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ai102.gateway import replicas
from ai102.gateway.policy import Gateway
from ai102.gateway.running import ProxyName
from ai102.gateway.secret import secret_of
from ai102.serve.server import Server
from ai102.serve.traces import tracing_arguments
from loadtest.gateway_overhead.__main__ import IN_FLIGHT, Spread, machine, spread_of
from loadtest.gateway_overhead.setup import prepared, repository_at
from loadtest.gateway_overhead.ways import PROTOCOLS, Work, ask, way, works

ROOT = Path(__file__).parents[2]
SAMPLE_PERCENT = 1.0
GOAL_SHARE = 0.98
READY_S = 60.0


@dataclass(frozen=True)
class Stack:
    """One running gateway before one running tritonserver."""

    gateway: Gateway
    token: str
    pids: tuple[int, ...]  # of the gateway and the tritonserver; what they started is theirs too

    def cpu_s(self) -> float:
        """Processor time so far, which other work on the machine hardly changes."""
        total = 0.0
        for pid in self.pids:
            first = psutil.Process(pid)
            for process in (first, *first.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
        return total


@dataclass(frozen=True)
class Row:
    """Without and with traces over all rounds; `share` and `cpu_share` compare both in each round."""

    protocol: str
    work: str
    without_per_s: Spread
    with_per_s: Spread
    share: Spread
    cpu_us: Spread  # of a call without traces
    cpu_share: Spread


@contextmanager
def stack(proxy: ProxyName, collector: str) -> Iterator[Stack]:
    """Traced where there is a collector."""
    with ExitStack() as started:
        home = Path(started.enter_context(tempfile.TemporaryDirectory(dir=ROOT / "build")))
        secret = secret_of(home / "build" / "gateway" / "secret")
        traced = tracing_arguments(collector, "a") if collector else []
        server = started.enter_context(
            Server(
                repository_at(home / "repository"),
                http_port=0,
                grpc_port=0,
                metrics_port=0,
                models=sorted({work.model for work in works()}),
                extra_arguments=[*traced, *replicas.restricting_arguments(secret)],
            )
        )
        traces = {"collector": collector, "sample_percent": SAMPLE_PERCENT}
        gateway, token = prepared(home, server, traces)
        for name in ("models.toml", "masking.toml"):
            shutil.copy(ROOT / name, home)
        policy = gateway.model_dump(mode="json", exclude_none=True)
        (home / "gateway.toml").write_text(tomlkit.dumps(policy), encoding="utf-8")
        pid = started.enter_context(running(home, proxy, gateway))
        yield Stack(gateway, token, (pid, server.pid))


@contextmanager
def running(home: Path, proxy: ProxyName, gateway: Gateway) -> Iterator[int]:
    """`ai102 gateway run`, whose access log goes nowhere; gives its process."""
    command = [sys.executable, "-m", "ai102", "gateway", "run", "--proxy", proxy]
    with (home / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        ends = time.monotonic() + READY_S
        while not is_answered(f"http://{gateway.listen.metrics}/metrics"):
            if process.poll() is not None or time.monotonic() > ends:
                sys.exit(f"the gateway did not start: {(home / 'errors').read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def is_answered(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def row(protocol: str, work: Work, stacks: tuple[Stack, Stack], rounds: int, seconds: float) -> Row:
    """`stacks`: without traces, with them."""
    ways = []
    for one in stacks:
        listen = one.gateway.listen
        ways.append(way(protocol, listen.grpc if protocol == "grpc" else listen.rest, work, one.token))
    count = max(400, int(ask(ways[0], 400, IN_FLIGHT).per_s * seconds))
    ask(ways[1], 400, IN_FLIGHT)
    rates: tuple[list[float], list[float]] = ([], [])
    cpu_us: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            before = stacks[which].cpu_s()
            rates[which].append(ask(ways[which], count, IN_FLIGHT).per_s)
            cpu_us[which].append((stacks[which].cpu_s() - before) / count * 1e6)
    shares, cpu_shares = (np.array(traced) / np.array(plain) for plain, traced in (rates, cpu_us))
    return Row(
        protocol,
        work.name,
        spread_of(rates[0]),
        spread_of(rates[1]),
        spread_of(shares.tolist()),
        spread_of(cpu_us[0]),
        spread_of(cpu_shares.tolist()),
    )


def rows(chosen: argparse.Namespace) -> Iterator[Row]:
    with stack(chosen.proxy, "") as without, stack(chosen.proxy, chosen.collector) as traced:
        for protocol in [chosen.protocol] if chosen.protocol else PROTOCOLS:
            for work in works():
                yield row(protocol, work, (without, traced), chosen.rounds, chosen.seconds)


def table_of(proxy: str, all_rows: list[Row]) -> Table:
    title = f"Traces of {SAMPLE_PERCENT:g} % of the calls through the gateway on {proxy}"
    columns = ("way", "call", "without /s", "with /s", "with/without", "CPU us a call", "CPU with/without", "goal")
    table = Table(*columns, title=title, title_justify="left", box=None)
    for one in all_rows:
        goal = "reached" if one.share.median >= GOAL_SHARE else "missed"
        rates = one.without_per_s.text(0), one.with_per_s.text(0), one.share.text(3)
        table.add_row(one.protocol, one.work, *rates, one.cpu_us.text(0), one.cpu_share.text(3), goal)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collector", required=True, help="where a running collector takes OTLP over HTTP")
    parser.add_argument("--proxy", choices=("haproxy", "nginx"), default="haproxy")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds per measurement")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="measure only this protocol")
    chosen = parser.parse_args()
    if not shutil.which("h2load"):
        sys.exit("loadtest.gateway_overhead sends requests with h2load: install the package nghttp2-client")
    count = len(works()) * (1 if chosen.protocol else len(PROTOCOLS))
    measured = list(track(rows(chosen), "asking", count, console=Console(stderr=True), transient=True))
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table_of(chosen.proxy, measured))
    facts: Mapping[str, Any] = machine(chosen.proxy)
    console.print(
        f"{chosen.rounds} rounds in turns, {chosen.seconds:g} s each; medians, with quartiles; {IN_FLIGHT} calls in"
        f" flight; {os.cpu_count()} cores shared by all; " + ", ".join(f"{key} {value}" for key, value in facts.items())
    )
    if missed := [f"{one.protocol} {one.work}" for one in measured if one.share.median < GOAL_SHARE]:
        sys.exit(f"missed the goal: {', '.join(missed)}")


if __name__ == "__main__":
    main()
