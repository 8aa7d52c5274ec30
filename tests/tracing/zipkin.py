"""The real collector and the real Zipkin on free ports of 127.0.0.1, and what Zipkin knows of a trace."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.parts_of import JAVA_OPTIONS, ends_in_order, program_or_skip
from tests.ports import free_port, free_ports

CONFIG = Path(__file__).parent.parent.parent / "monitoring" / "collector" / "collector.yaml"
START_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Node:
    """A span with the spans below it, by the time at which they began; times are microseconds."""

    service: str
    name: str
    began_us: int
    ended_us: int
    tags: Mapping[str, str]
    below: tuple["Node", ...]

    @property
    def tree(self) -> Any:
        """Names alone: "service: name", or a pair of that and the list of what is below."""
        own = f"{self.service}: {self.name}"
        return (own, [node.tree for node in self.below]) if self.below else own


@dataclass(frozen=True)
class Zipkin:
    """A running Zipkin."""

    url: str

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v2/trace/{trace_id}", timeout=10, trust_env=False)
        return list(answer.json()) if answer.status_code == 200 else []

    def has(self, trace_id: str, count: int, within_s: float) -> bool:
        """Whether the trace has so many spans soon."""
        ends = time.monotonic() + within_s
        while len(self.spans(trace_id)) < count:
            if time.monotonic() > ends:
                return False
            time.sleep(0.1)
        return True

    def nodes(self, trace_id: str, count: int, within_s: float = 20.0) -> list[Node]:
        """The spans that have no parent there, once the trace has `count` spans; AssertionError shows what it had."""
        ends = time.monotonic() + within_s
        while len(spans := self.spans(trace_id)) < count:
            words = [f"{span['localEndpoint']['serviceName']}: {span.get('name')}" for span in spans]
            assert time.monotonic() < ends, f"trace {trace_id} has {len(spans)} of {count} spans: {words}"
            time.sleep(0.1)
        return tops_of(spans)


def tops_of(spans: list[dict[str, Any]]) -> list[Node]:
    known = {span["id"] for span in spans}

    def node(span: dict[str, Any]) -> Node:
        return Node(
            span["localEndpoint"]["serviceName"],
            span.get("name", ""),
            span["timestamp"],
            span["timestamp"] + span.get("duration", 0),
            span.get("tags", {}),
            tuple(node(one) for one in in_order if one.get("parentId") == span["id"]),
        )

    in_order = sorted(spans, key=lambda span: int(span["timestamp"]))
    return [node(span) for span in in_order if span.get("parentId") not in known]


@contextmanager
def zipkin_running(folder: Path) -> Iterator[Zipkin]:
    program = program_or_skip("zipkin")
    port = free_port()
    options = [f"-Darmeria.ports[0].{key}={value}" for key, value in
               {"ip": "127.0.0.1", "port": port, "protocols[0]": "http"}.items()]  # fmt: skip
    environment = {"JAVA_OPTS": " ".join(["-Xmx384m", JAVA_OPTIONS, *options]), "STORAGE_TYPE": "mem"}
    zipkin = Zipkin(f"http://127.0.0.1:{port}")
    with _running([str(program)], environment, folder / "zipkin.log", f"{zipkin.url}/health"):
        yield zipkin


@contextmanager
def collector_running(folder: Path, zipkin: Zipkin) -> Iterator[str]:
    """Gives where it takes OTLP over HTTP."""
    program = program_or_skip("otelcol")
    names = ("grpc", "http", "health", "metrics")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    environment = {
        "COLLECTOR_OTLP_GRPC": f"127.0.0.1:{ports['grpc']}",
        "COLLECTOR_OTLP_HTTP": f"127.0.0.1:{ports['http']}",
        "COLLECTOR_HEALTH": f"127.0.0.1:{ports['health']}",
        "COLLECTOR_METRICS_HOST": "127.0.0.1",
        "COLLECTOR_METRICS_PORT": str(ports["metrics"]),
        "COLLECTOR_ZIPKIN": zipkin.url,
    }
    command = [str(program), "--config", str(CONFIG)]
    with _running(command, environment, folder / "collector.log", f"http://127.0.0.1:{ports['health']}/"):
        yield f"http://127.0.0.1:{ports['http']}"


@contextmanager
def _running(command: list[str], environment: Mapping[str, str], log: Path, ready_url: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until(lambda: _is_answered(ready_url), process, log)
        yield
    finally:
        ends_in_order(process)


def _wait_until(holds: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + START_TIMEOUT_S
    while not holds():
        words = f"{process.args!r}: not ready within {START_TIMEOUT_S:g} s; its log ends: {log.read_text()[-2000:]}"
        assert process.poll() is None, words
        assert time.monotonic() < ends, words
        time.sleep(0.1)


def _is_answered(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
