"""The gateway's overhead over direct requests to tritonserver: `python -m loadtest.gateway_overhead`, three minutes.

Direct requests alternate with requests through the gateway; direct ones are plain text, the gateway has TLS, tokens
and rights. First the replica has one core, gateway and client another; then all share both. Prints medians over the
rounds, with their quartiles.
Goals, over gRPC: at most 0.5 ms more at p50, at least 0.9 of the throughput.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tritonclient.http
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ai102.gateway import replicas
from ai102.gateway.running import ProxyName, Runner
from ai102.gateway.secret import secret_of
from ai102.host.cpu import cpu_name
from ai102.serve.server import Server
from loadtest.gateway_overhead.setup import prepared, repository_at, run_on
from loadtest.gateway_overhead.ways import PROTOCOLS, Way, ask, way, works

ROOT = Path(__file__).parents[2]
SERVER_CORE, CLIENT_CORE = 0, 1
IN_FLIGHT = 64  # enough to saturate the replica: with few, a closed loop measures the latency again
GOAL_MS, GOAL_SHARE = 0.5, 0.9


@dataclass(frozen=True)
class Round:
    """Latencies with one call in flight, and the throughput with IN_FLIGHT calls."""

    p50_ms: float
    p99_ms: float
    per_s: float


@dataclass(frozen=True)
class Spread:
    """A median over rounds and its quartiles."""

    low: float
    median: float
    high: float

    def text(self, digits: int) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Row:
    """Direct and gateway over all rounds; `more_ms` and `share` compare both in each round."""

    placement: str
    protocol: str
    work: str
    direct_p50_ms: Spread
    more_ms: Spread
    direct_p99_ms: Spread
    gateway_p99_ms: Spread
    direct_per_s: Spread
    share: Spread

    @property
    def misses(self) -> list[str]:
        """The missed goals; only gRPC has goals."""
        if self.protocol != "grpc":
            return []
        missed = ["p50"] if self.more_ms.median > GOAL_MS else []
        return missed + (["throughput"] if self.share.median < GOAL_SHARE else [])


def spread_of(values: list[float]) -> Spread:
    low, median, high = np.percentile(values, [25, 50, 75])
    return Spread(float(low), float(median), float(high))


def row_from_rounds(placement: str, protocol: str, work: str, rounds: list[tuple[Round, Round]]) -> Row:
    """`rounds` holds the direct and the gateway measurement of each round."""
    return Row(
        placement,
        protocol,
        work,
        spread_of([direct.p50_ms for direct, _ in rounds]),
        spread_of([gateway.p50_ms - direct.p50_ms for direct, gateway in rounds]),
        spread_of([direct.p99_ms for direct, _ in rounds]),
        spread_of([gateway.p99_ms for _, gateway in rounds]),
        spread_of([direct.per_s for direct, _ in rounds]),
        spread_of([gateway.per_s / direct.per_s for direct, gateway in rounds]),
    )


def measured(
    ways: tuple[Way, Way], rounds: int, seconds: float, succeeded: Callable[[], int]
) -> list[tuple[Round, Round]]:
    """Measure both ways in alternating order. Raises AssertionError unless the replica answered every request."""
    counts = [[_count_for(way, connections, seconds) for connections in (1, IN_FLIGHT)] for way in ways]
    pairs = []
    before = succeeded()
    for number in range(rounds):
        pair: dict[int, Round] = {}
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            alone = ask(ways[which], counts[which][0], 1)
            p50, p99 = np.percentile(alone.times_ms, [50, 99])
            pair[which] = Round(float(p50), float(p99), ask(ways[which], counts[which][1], IN_FLIGHT).per_s)
        pairs.append((pair[0], pair[1]))
    sent, succeeded_count = rounds * sum(map(sum, counts)), succeeded() - before
    assert succeeded_count == sent, f"{succeeded_count} of {sent} calls of {ways[1].url} succeeded"
    return pairs


def _count_for(way: Way, connections: int, seconds: float) -> int:
    """The number of requests that takes about `seconds`."""
    return max(100, int(ask(way, 400, connections).per_s * seconds))


def succeeded_at(server: Server, model: str) -> int:
    with tritonclient.http.InferenceServerClient(server.http_url) as client:
        (statistics,) = client.get_inference_statistics(model)["model_stats"]
    return int(statistics["inference_stats"]["success"]["count"])


def rows(proxy: ProxyName, placement: str, chosen: argparse.Namespace) -> Iterator[Row]:
    everywhere = {SERVER_CORE, CLIENT_CORE}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ROOT / "build")))
        repository = repository_at(home / "repository")
        secret = secret_of(home / "build" / "gateway" / "secret")
        run_on({SERVER_CORE} if placement == "apart" else everywhere)
        server = stack.enter_context(
            Server(
                repository,
                http_port=0,
                grpc_port=0,
                metrics_port=0,
                models=sorted({work.model for work in works()}),
                extra_arguments=replicas.restricting_arguments(secret),
            )
        )
        run_on({CLIENT_CORE} if placement == "apart" else everywhere)
        gateway, token = prepared(home, server)
        stack.enter_context(Runner(gateway, home, proxy, home / "access.log"))
        for protocol in [chosen.protocol] if chosen.protocol else PROTOCOLS:
            direct = server.grpc_url if protocol == "grpc" else server.http_url
            through = gateway.listen.grpc if protocol == "grpc" else gateway.listen.rest
            for work in works():
                ways = (way(protocol, direct, work, ""), way(protocol, through, work, token))
                rounds = measured(ways, chosen.rounds, chosen.seconds, partial(succeeded_at, server, work.model))
                yield row_from_rounds(placement, protocol, work.name, rounds)


def table_of(proxy: str, rows: list[Row]) -> Table:
    columns = ("cores", "way", "call", "direct p50 ms", "gateway p50 ms more", "p99 ms direct", "p99 ms gateway")
    title = f"The gateway on {proxy}, over direct requests"
    table = Table(*columns, "direct /s", "gateway/direct", "goal", title=title, title_justify="left", box=None)
    for row in rows:
        goal = "" if row.protocol != "grpc" else f"missed: {', '.join(row.misses)}" if row.misses else "reached"
        table.add_row(
            row.placement,
            row.protocol,
            row.work,
            f"{row.direct_p50_ms.median:.2f}",
            row.more_ms.text(2),
            f"{row.direct_p99_ms.median:.2f}",
            f"{row.gateway_p99_ms.median:.2f}",
            f"{row.direct_per_s.median:.0f}",
            row.share.text(2),
            goal,
        )
    return table


def machine(proxy: str) -> Mapping[str, str]:
    proxy_version = subprocess.run([proxy, "-v"], capture_output=True, text=True, check=False)
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True)
    return {
        "cpu": cpu_name(),
        "cores": str(os.cpu_count()),
        proxy: (proxy_version.stdout + proxy_version.stderr).partition("ersion")[2].split()[0].strip(": "),
        "python": platform.python_version(),
        "h2load": h2load.stdout.partition("/")[2].strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", choices=("haproxy", "nginx"), default="haproxy")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.4, help="seconds per measurement; a round has 48")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="measure only this protocol")
    parser.add_argument("--cores", choices=("apart", "shared"), help="measure only this placement")
    chosen = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("loadtest.gateway_overhead needs two cores: one for the replica, one for gateway and client")
    if not shutil.which("h2load"):
        sys.exit("loadtest.gateway_overhead sends requests with h2load: install the package nghttp2-client")
    measured_rows: list[Row] = []
    for placement in [chosen.cores] if chosen.cores else ("apart", "shared"):
        count = 3 if chosen.protocol else 3 * len(PROTOCOLS)
        console = Console(stderr=True)
        measured_rows += track(rows(chosen.proxy, placement, chosen), placement, count, console=console, transient=True)
    console = Console(width=None if sys.stdout.isatty() else 170)
    console.print(table_of(chosen.proxy, measured_rows))
    shown = ", ".join(f"{key} {value}" for key, value in machine(chosen.proxy).items())
    console.print(
        f"{chosen.rounds} alternating rounds, {chosen.seconds:g} s each; medians, with quartiles; apart: the replica on"
        f" one core, gateway and client on another; {IN_FLIGHT} calls in flight for the throughput; {shown}"
    )
    if missed := [f"{row.work} ({row.placement}): {', '.join(row.misses)}" for row in measured_rows if row.misses]:
        sys.exit(f"missed the goal: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
