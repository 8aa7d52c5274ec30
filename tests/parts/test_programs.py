"""The real parts, as they lie in the cache: each program starts and says the version that parts.toml pins."""

import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ai102.parts import load
from tests.parts_of import JAVA_OPTIONS, ends_in_order, program_or_skip
from tests.ports import free_port

pytestmark = pytest.mark.slow

# How a program is asked for its version.
VERSION_WORDS = {
    ("prometheus", "prometheus"): ["--version"],
    ("prometheus", "promtool"): ["--version"],
    ("alertmanager", "alertmanager"): ["--version"],
    ("alertmanager", "amtool"): ["--version"],
    ("node-exporter", "node-exporter"): ["--version"],
    ("docker-compose", "docker-compose"): ["version"],
    ("docker-registry", "docker-registry"): ["--version"],
    ("hadolint", "hadolint"): ["--version"],
    ("otelcol", "otelcol"): ["--version"],
    ("opensearch", "opensearch"): ["--version"],
    ("kubernetes", "kube-apiserver"): ["--version"],
    ("kubernetes", "kube-controller-manager"): ["--version"],
    ("kubernetes", "kube-scheduler"): ["--version"],
    ("kubernetes", "kube-proxy"): ["--version"],
    ("kubernetes", "kubelet"): ["--version"],
    ("kubernetes", "kubectl"): ["version", "--client"],
    ("pause", "pause"): ["--version"],
    ("etcd", "etcd"): ["--version"],
    ("etcd", "etcdctl"): ["version"],
    ("containerd", "containerd"): ["--version"],
    ("containerd", "containerd-shim-runc-v2"): ["-v"],
    ("containerd", "ctr"): ["--version"],
    ("runc", "runc"): ["--version"],
    ("cni-plugins", "bridge"): [],
    ("cni-plugins", "host-local"): [],
    ("cni-plugins", "loopback"): [],
    ("cni-plugins", "portmap"): [],
    ("coredns", "coredns"): ["-version"],
    ("kube-router", "kube-router"): ["--version"],
    ("metrics-server", "metrics-server"): ["--version"],
    ("keda", "keda-operator"): ["--help"],
    ("keda", "keda-adapter"): ["--help"],
    ("kube-state-metrics", "kube-state-metrics"): ["version"],
    ("istio", "pilot-discovery"): ["version"],
    ("istio", "pilot-agent"): ["version"],
    ("istio", "istioctl"): ["version", "--remote=false", "--output=json"],
    ("istio", "install-cni"): ["version"],
    ("istio", "istio-cni"): [],
    ("envoy", "envoy"): ["--version"],
    ("flagger", "flagger"): ["--version"],
    ("prometheus-adapter", "prometheus-adapter"): ["--help"],
    ("versitygw", "versitygw"): ["--version"],
    ("dapr", "daprd"): ["--version"],
}
# These print no version: that they start is all that is asked.
WITHOUT_VERSION = {"cni-plugins", "istio-cni", "keda", "prometheus-adapter", "versitygw"}
# Its --help is an error to itself.
STATUS = {"prometheus-adapter": 2}
# Asked when they run.
SERVERS = {("zipkin", "zipkin")}
COLLECTOR = {
    "receivers": ["filelog", "otlp"],
    "processors": ["batch", "memory_limiter", "transform"],
    "exporters": ["debug", "zipkin"],
    "extensions": ["file_storage", "health_check"],
}


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **(environment or {})})
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        assert ends_in_order(process), log.read_text()


def asked(url: str, body: bytes | None = None, method: str = "GET", within_s: float = 60.0) -> Any:
    """The JSON of the first answer; AssertionError when there is none in time."""
    ends = time.monotonic() + within_s
    headers = {"Content-Type": "application/json"}
    while True:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, body, headers, method=method), timeout=10
            ) as answer:
                return json.loads(answer.read() or "null")
        except (urllib.error.URLError, ConnectionError) as err:
            if time.monotonic() > ends:
                pytest.fail(f"{url}: no answer within {within_s:g} s: {err}")
            time.sleep(0.05)


def test_every_program_of_parts_toml_is_tested_here() -> None:
    programs = {(name, program) for name, part in load().parts.items() for program in part.programs}
    assert VERSION_WORDS.keys() | SERVERS == programs


@pytest.mark.parametrize(("part", "program"), VERSION_WORDS, ids=[program for _, program in VERSION_WORDS])
def test_a_program_starts_and_says_its_version(part: str, program: str) -> None:
    command = [program_or_skip(part, program), *VERSION_WORDS[part, program]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    version = "" if {part, program} & WITHOUT_VERSION else load().part(part).version
    assert (done.returncode, version in done.stdout + done.stderr) == (STATUS.get(part, 0), True), done


def test_the_collector_has_the_components_that_configurations_use() -> None:
    done = subprocess.run([program_or_skip("otelcol"), "components"], capture_output=True, text=True, timeout=60)
    components: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line and not line.startswith(" "):
            section = line.partition(":")[0]
        elif line.startswith("    - name: "):
            components.setdefault(section, []).append(line.rpartition(" ")[2])
    assert {section: components.get(section) for section in COLLECTOR} == COLLECTOR


def test_zipkin_starts_and_keeps_a_span(tmp_path: Path) -> None:
    program = program_or_skip("zipkin")
    port = free_port()
    address = [f"--armeria.ports[0].{key}={value}" for key, value in {"ip": "127.0.0.1", "port": port}.items()]
    span = {"traceId": "a" * 32, "id": "b" * 16, "name": "infer", "timestamp": time.time_ns() // 1000, "duration": 10}
    url = f"http://127.0.0.1:{port}"
    java = {"JAVA_OPTS": f"-Xmx384m {JAVA_OPTIONS}"}
    with running([program, *address, "--armeria.ports[0].protocols[0]=http"], tmp_path / "log", java):
        assert asked(f"{url}/info")["zipkin"]["version"] == load().part("zipkin").version
        asked(f"{url}/api/v2/spans", json.dumps([span]).encode(), "POST")
        assert asked(f"{url}/api/v2/trace/{'a' * 32}")[0]["name"] == "infer"


def test_opensearch_starts_keeps_a_document_and_finds_it_after_a_restart(tmp_path: Path) -> None:
    program = program_or_skip("opensearch")
    port = free_port()
    options = {"path.home": tmp_path, "http.port": port, "network.host": "127.0.0.1", "transport.port": "0"}
    command = [program, *(f"-E{key}={value}" for key, value in options.items())]
    url = f"http://127.0.0.1:{port}"
    java = {"OPENSEARCH_JAVA_OPTS": f"-Xms512m -Xmx512m {JAVA_OPTIONS}"}
    with running(command, tmp_path / "log", java):
        assert asked(url)["version"]["number"] == load().part("opensearch").version
        asked(f"{url}/logs/_doc/1?refresh=true", b'{"message": "a replica is ready"}', "PUT")
    with running(command, tmp_path / "log", java):
        asked(f"{url}/_cluster/health/logs?wait_for_status=yellow&timeout=30s")
        hits = asked(f"{url}/logs/_search?q=message:replica")["hits"]["hits"]
        assert [hit["_id"] for hit in hits] == ["1"]
