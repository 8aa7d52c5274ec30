"""The profile eyes: every target is up, a call is found in traces and logs, a dead replica is seen."""

import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai102.compose.first_question import token_for_compose
from ai102.compose.program import compose_command
from ai102.compose.secrets import FOLDER
from ai102.compose.settings import FILE
from ai102.compose.stack import Stack
from ai102.errors import UserError
from ai102.images.docker import Docker
from ai102.images.layout import Image
from tests.containers.conftest import LOGS, ROOT, inspected, note, wait_until

PROJECT = "ai102-eyes"
ENVIRONMENT = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "AI102_SUBNET": "172.30.113",
    "AI102_REST_PORT": "18180",
    "AI102_GRPC_PORT": "18181",
}
# The rest of the stack is tested in test_stack.py.
EYES = ("prometheus", "alertmanager", "node-exporter", "collector", "zipkin", "masker", "shipper", "opensearch")
SERVICES = (*EYES, "triton-a", "triton-b", "gateway", "issuer", "api", "worker")
ROOT_BY_NEED = {"masker", "shipper"}  # the logs of Docker are root's, and so is the spool
JOBS = {"triton", "gateway", "issuer", "api", "worker", "node", "prometheus", "alertmanager", "collector"}
UP_TIMEOUT_S = 240
SEEN_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def stack(docker: Docker, images: dict[str, str], models: Image) -> Iterator[Stack]:
    """The stack with eyes under a name, addresses and ports of its own; .env is as before in the end."""
    env = ROOT / FILE
    before = env.read_bytes() if env.exists() else None
    running = Stack(docker, ROOT, note)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        environment.delenv("AI102_EYES_BIND", raising=False)
        _skip_without_compose(docker)
        try:
            note(_up())
            yield running
        finally:
            _keep_logs(docker)
            subprocess.run([*compose_command(docker, os.environ), "down", "--volumes", "--remove-orphans"], cwd=ROOT)
            for kind in ("gateway", "issuer", "jobs", "compiled"):
                docker.succeeds("volume", "rm", f"{PROJECT}-{kind}")
            env.unlink(missing_ok=True)
            if before is not None:
                env.write_bytes(before)


@pytest.fixture(scope="module")
def asker(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the gateway's REST with a token."""
    context = ssl.create_default_context(cafile=ROOT / FOLDER / "certs" / "ca.pem")
    address = f"https://localhost:{ENVIRONMENT['AI102_REST_PORT']}"
    headers = {"authorization": f"Bearer {token_for_compose(stack)}"}
    with httpx.Client(verify=context, base_url=address, headers=headers, timeout=10) as client:
        yield client


@pytest.mark.parametrize("service", EYES)
def test_a_service_is_healthy_locked_down_and_limited(docker: Docker, stack: Stack, service: str) -> None:
    wait_until(lambda: _health(docker, service) == "healthy", f"{service} is healthy", UP_TIMEOUT_S)
    facts = inspected(docker, _container(service))
    host = facts["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], None)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == "always"
    assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0
    assert (facts["Config"]["User"] in ("", "0", "0:0")) == (service in ROOT_BY_NEED)


def test_nothing_is_published_but_the_gateway(docker: Docker, stack: Stack) -> None:
    ports = {service: inspected(docker, _container(service))["NetworkSettings"]["Ports"] for service in SERVICES}
    assert {service for service, places in ports.items() if any(places.values())} == {"gateway"}


def test_every_target_of_prometheus_is_up(docker: Docker, stack: Stack) -> None:
    wait_until(lambda: set(_targets(docker).values()) == {"up"}, "every target is up", UP_TIMEOUT_S)
    assert {job for job, _ in _targets(docker)} == JOBS
    assert len([job for job, _ in _targets(docker) if job == "triton"]) == 2


def test_prometheus_knows_its_alertmanager_and_what_the_contract_promises(docker: Docker, stack: Stack) -> None:
    found = _prometheus(docker, "alertmanagers")["activeAlertmanagers"]
    assert [row["url"] for row in found] == ["http://alertmanager:9093/api/v2/alerts"]
    wait_until(lambda: _query(docker, "ai102_model_expected_version") != [], "the facts are there", SEEN_TIMEOUT_S)


def test_a_call_is_counted_by_its_pipeline(docker: Docker, stack: Stack, asker: httpx.Client) -> None:
    assert _embed(asker).status_code == 200
    query = 'ai102_gateway_requests_total{pipeline="embed_text",protocol="rest",outcome="ok"} > 0'
    wait_until(lambda: _query(docker, query) != [], "Prometheus has the call", SEEN_TIMEOUT_S)


def test_a_call_that_asks_for_a_trace_is_found_in_zipkin_with_tritons_spans(
    docker: Docker, stack: Stack, asker: httpx.Client
) -> None:
    trace = secrets.token_hex(16)
    assert _embed(asker, traceparent=f"00-{trace}-{secrets.token_hex(8)}-01").status_code == 200
    wait_until(lambda: {"gateway", "triton"} <= _services_in(docker, trace), "the trace is whole", SEEN_TIMEOUT_S)


def test_the_row_of_a_call_is_found_by_its_request_id_and_has_no_address(
    docker: Docker, stack: Stack, asker: httpx.Client
) -> None:
    request = _embed(asker).headers["x-request-id"]
    wait_until(lambda: _found(docker, "http.request.id", request) != [], "OpenSearch has the row", SEEN_TIMEOUT_S)
    [row] = [row for row in _found(docker, "http.request.id", request) if row["service"]["name"] == "gateway"]
    assert (row["labels"]["pipeline"], row["event"]["outcome"], row["client"]["address"]) == (
        "embed_text",
        "success",
        "[ip]",
    )


def test_what_any_container_prints_is_masked_before_it_is_stored(
    docker: Docker, stack: Stack, images: dict[str, str]
) -> None:
    word, secret, mail = f"w{secrets.token_hex(8)}", secrets.token_hex(12), "ann.example@example.com"
    line = f"{word} password={secret} of {mail}"
    run = ("run", "--detach", "--network", "none", "--entrypoint", "python3", images["api"])
    container = docker.run(*run, "-c", f"print({line!r})")
    try:
        wait_until(lambda: _found(docker, "message", word) != [], "OpenSearch has the line", SEEN_TIMEOUT_S)
    finally:
        docker.run("rm", "--force", container)
    texts = [json.dumps(row) for row in _found(docker, "message", word)]
    assert [text for text in texts if secret in text or mail in text] == []


@pytest.mark.parametrize("service", ["gateway", "api", "issuer", "triton-a"])
def test_who_serves_does_not_reach_what_keeps_logs_and_traces(docker: Docker, stack: Stack, service: str) -> None:
    for keeper, port in (("opensearch", 9200), ("zipkin", 9411)):
        knock = (
            "import socket\n"
            f"try: socket.create_connection(('{_address(docker, keeper, 'stores')}', {port}), 2); print('yes')\n"
            "except OSError: print('no')"
        )
        assert docker.run("exec", _container(service), "python3", "-c", knock) == "no"


def test_a_replica_that_is_killed_is_seen_and_so_is_its_return(docker: Docker, stack: Stack) -> None:
    docker.run("kill", _container("triton-a"))  # the engine does not start it again after that
    down = 'up{job="triton",replica="a"} == 0 and on(replica) ai102_gateway_replica_up{replica="a"} == 0'
    try:
        wait_until(lambda: _query(docker, down) != [], "Prometheus sees that it is down", SEEN_TIMEOUT_S)
    finally:
        docker.run("start", _container("triton-a"))
    up = down.replace("== 0", "== 1")
    wait_until(lambda: _query(docker, up) != [], "Prometheus sees that it is back", UP_TIMEOUT_S)


def test_kill_9_of_every_eye_at_once_brings_all_back_and_stops_no_call(
    docker: Docker, stack: Stack, asker: httpx.Client
) -> None:
    """`docker kill` would switch the restart policy off: the processes are killed from outside, as by the kernel."""
    before = {service: inspected(docker, _container(service))["State"] for service in EYES}
    for facts in before.values():
        os.kill(int(facts["Pid"]), signal.SIGKILL)
    assert [_embed(asker).status_code for _ in range(20)] == [200] * 20

    def are_back() -> bool:
        now = {service: inspected(docker, _container(service))["State"] for service in EYES}
        return all(
            now[one]["StartedAt"] != before[one]["StartedAt"] and now[one]["Health"]["Status"] == "healthy"
            for one in EYES
        )

    wait_until(are_back, "all eyes are back", UP_TIMEOUT_S)


def _up() -> str:
    command = [str(Path(sys.executable).parent / "ai102"), "compose", "up", "--eyes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "not in the cache" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return done.stdout


def _skip_without_compose(docker: Docker) -> None:
    try:
        compose_command(docker, os.environ)
    except UserError as err:
        pytest.skip(str(err))


def _keep_logs(docker: Docker) -> None:
    folder = LOGS / "eyes"
    folder.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        with (folder / f"{service}.log").open("wb") as log:
            subprocess.run([docker.program, "logs", _container(service)], stdout=log, stderr=log, check=False)


def _container(service: str) -> str:
    return f"{PROJECT}-{service}-1"


def _health(docker: Docker, service: str) -> str:
    return str(inspected(docker, _container(service))["State"]["Health"]["Status"])


def _address(docker: Docker, service: str, network: str) -> str:
    """Docker's host reaches every container by its address."""
    networks = inspected(docker, _container(service))["NetworkSettings"]["Networks"]
    return str(networks[f"{PROJECT}_{network}"]["IPAddress"])


def _embed(client: httpx.Client, **headers: str) -> httpx.Response:
    text = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["A man is eating."]}
    return client.post("/v2/models/embed_text/infer", json={"inputs": [text]}, headers=headers)


def _prometheus(docker: Docker, path: str, **parameters: str) -> Any:
    address = f"http://{_address(docker, 'prometheus', 'eyes')}:9090/api/v1/{path}"
    return httpx.get(address, params=parameters, timeout=10).raise_for_status().json()["data"]


def _query(docker: Docker, query: str) -> list[Any]:
    return list(_prometheus(docker, "query", query=query)["result"])


def _targets(docker: Docker) -> dict[tuple[str, str], str]:
    """The health of each target, by its job and address."""
    targets = _prometheus(docker, "targets")["activeTargets"]
    return {(row["labels"]["job"], row["scrapeUrl"]): row["health"] for row in targets}


def _services_in(docker: Docker, trace: str) -> set[str]:
    """Who has a span in the trace; none while Zipkin does not know it."""
    response = httpx.get(f"http://{_address(docker, 'zipkin', 'stores')}:9411/api/v2/trace/{trace}", timeout=10)
    spans = response.json() if response.status_code == 200 else []
    return {span["localEndpoint"]["serviceName"] for span in spans}


def _found(docker: Docker, field: str, value: str) -> list[dict[str, Any]]:
    """The documents of the index with that value."""
    address = f"http://{_address(docker, 'opensearch', 'stores')}:9200/ai102-logs-*/_search"
    response = httpx.post(address, json={"query": {"match": {field: value}}}, timeout=10)
    return [hit["_source"] for hit in response.raise_for_status().json()["hits"]["hits"]]
