"""The profile eyes: every target is up, a call is found in traces and logs, a dead replica is seen."""

import json
import os
import secrets
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ai102.images.docker import Docker
from ai102.images.layout import Image
from tests.containers.conftest import check_locked_down, wait_until
from tests.containers.own_stack import OwnStack, started

# The rest of the stack is tested in test_stack.py.
EYES = ("prometheus", "alertmanager", "node-exporter", "collector", "zipkin", "masker", "shipper", "opensearch")
SERVICES = (*EYES, "triton-a", "triton-b", "gateway", "issuer", "api", "worker")
ROOT_BY_NEED = {"masker", "shipper"}  # the logs of Docker are root's, and so is the spool
JOBS = {"triton", "gateway", "issuer", "api", "worker", "node", "prometheus", "alertmanager", "collector"}
UP_TIMEOUT_S = 240
SEEN_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def stack(docker: Docker, images: dict[str, str], models: Image) -> Iterator[OwnStack]:
    with started(OwnStack(docker, "ai102-eyes", "172.30.113", 18180), SERVICES, "--eyes") as own:
        yield own


@pytest.fixture(scope="module")
def asker(stack: OwnStack) -> Iterator[httpx.Client]:
    """A client of the gateway's REST with a token."""
    with stack.asker() as client:
        yield client


@pytest.mark.parametrize("service", EYES)
def test_a_service_is_healthy_locked_down_and_limited(docker: Docker, stack: OwnStack, service: str) -> None:
    wait_until(lambda: stack.health(service) == "healthy", f"{service} is healthy", UP_TIMEOUT_S)
    facts = stack.facts(service)
    check_locked_down(facts)
    assert (facts["Config"]["User"] in ("", "0", "0:0")) == (service in ROOT_BY_NEED)


def test_nothing_is_published_but_the_gateway(docker: Docker, stack: OwnStack) -> None:
    assert stack.published(SERVICES) == {"gateway"}


def test_every_target_of_prometheus_is_up(docker: Docker, stack: OwnStack) -> None:
    wait_until(lambda: set(_targets(stack).values()) == {"up"}, "every target is up", UP_TIMEOUT_S)
    assert {job for job, _ in _targets(stack)} == JOBS
    assert len([job for job, _ in _targets(stack) if job == "triton"]) == 2


def test_prometheus_knows_its_alertmanager_and_what_the_contract_promises(docker: Docker, stack: OwnStack) -> None:
    found = _prometheus(stack, "alertmanagers")["activeAlertmanagers"]
    assert [row["url"] for row in found] == ["http://alertmanager:9093/api/v2/alerts"]
    wait_until(lambda: _query(stack, "ai102_model_expected_version") != [], "the facts are there", SEEN_TIMEOUT_S)


def test_a_call_is_counted_by_its_pipeline(docker: Docker, stack: OwnStack, asker: httpx.Client) -> None:
    assert _embed(asker).status_code == 200
    query = 'ai102_gateway_requests_total{pipeline="embed_text",protocol="rest",outcome="ok"} > 0'
    wait_until(lambda: _query(stack, query) != [], "Prometheus has the call", SEEN_TIMEOUT_S)


def test_a_call_that_asks_for_a_trace_is_found_in_zipkin_with_tritons_spans(
    docker: Docker, stack: OwnStack, asker: httpx.Client
) -> None:
    trace = secrets.token_hex(16)
    assert _embed(asker, traceparent=f"00-{trace}-{secrets.token_hex(8)}-01").status_code == 200
    wait_until(lambda: {"gateway", "triton"} <= _services_in(stack, trace), "the trace is whole", SEEN_TIMEOUT_S)


def test_the_row_of_a_call_is_found_by_its_request_id_and_has_no_address(
    docker: Docker, stack: OwnStack, asker: httpx.Client
) -> None:
    request = _embed(asker).headers["x-request-id"]
    wait_until(lambda: _found(stack, "http.request.id", request) != [], "OpenSearch has the row", SEEN_TIMEOUT_S)
    [row] = [row for row in _found(stack, "http.request.id", request) if row["service"]["name"] == "gateway"]
    assert (row["labels"]["pipeline"], row["event"]["outcome"], row["client"]["address"]) == (
        "embed_text",
        "success",
        "[ip]",
    )


def test_what_any_container_prints_is_masked_before_it_is_stored(
    docker: Docker, stack: OwnStack, images: dict[str, str]
) -> None:
    word, secret, mail = f"w{secrets.token_hex(8)}", secrets.token_hex(12), "ann.example@example.com"
    line = f"{word} password={secret} of {mail}"
    run = ("run", "--detach", "--network", "none", "--entrypoint", "python3", images["api"])
    container = docker.run(*run, "-c", f"print({line!r})")
    try:
        wait_until(lambda: _found(stack, "message", word) != [], "OpenSearch has the line", SEEN_TIMEOUT_S)
    finally:
        docker.run("rm", "--force", container)
    texts = [json.dumps(row) for row in _found(stack, "message", word)]
    assert [text for text in texts if secret in text or mail in text] == []


@pytest.mark.parametrize("service", ["gateway", "api", "issuer", "triton-a"])
def test_who_serves_does_not_reach_what_keeps_logs_and_traces(docker: Docker, stack: OwnStack, service: str) -> None:
    for keeper, port in (("opensearch", 9200), ("zipkin", 9411)):
        knock = (
            "import socket\n"
            f"try: socket.create_connection(('{stack.address(keeper, 'stores')}', {port}), 2); print('yes')\n"
            "except OSError: print('no')"
        )
        assert docker.run("exec", stack.container(service), "python3", "-c", knock) == "no"


def test_a_replica_that_is_killed_is_seen_and_so_is_its_return(docker: Docker, stack: OwnStack) -> None:
    docker.run("kill", stack.container("triton-a"))  # the engine does not start it again after that
    down = 'up{job="triton",replica="a"} == 0 and on(replica) ai102_gateway_replica_up{replica="a"} == 0'
    try:
        wait_until(lambda: _query(stack, down) != [], "Prometheus sees that it is down", SEEN_TIMEOUT_S)
    finally:
        docker.run("start", stack.container("triton-a"))
    up = down.replace("== 0", "== 1")
    wait_until(lambda: _query(stack, up) != [], "Prometheus sees that it is back", UP_TIMEOUT_S)


def test_kill_9_of_every_eye_at_once_brings_all_back_and_stops_no_call(
    docker: Docker, stack: OwnStack, asker: httpx.Client
) -> None:
    """`docker kill` would switch the restart policy off: the processes are killed from outside, as by the kernel."""
    before = {service: stack.facts(service)["State"] for service in EYES}
    for facts in before.values():
        os.kill(int(facts["Pid"]), signal.SIGKILL)
    assert [_embed(asker).status_code for _ in range(20)] == [200] * 20

    def are_back() -> bool:
        now = {service: stack.facts(service)["State"] for service in EYES}
        return all(
            now[one]["StartedAt"] != before[one]["StartedAt"] and now[one]["Health"]["Status"] == "healthy"
            for one in EYES
        )

    wait_until(are_back, "all eyes are back", UP_TIMEOUT_S)


def _embed(client: httpx.Client, **headers: str) -> httpx.Response:
    text = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["A man is eating."]}
    return client.post("/v2/models/embed_text/infer", json={"inputs": [text]}, headers=headers)


def _prometheus(stack: OwnStack, path: str, **parameters: str) -> Any:
    address = f"http://{stack.address('prometheus', 'eyes')}:9090/api/v1/{path}"
    return httpx.get(address, params=parameters, timeout=10).raise_for_status().json()["data"]


def _query(stack: OwnStack, query: str) -> list[Any]:
    return list(_prometheus(stack, "query", query=query)["result"])


def _targets(stack: OwnStack) -> dict[tuple[str, str], str]:
    """The health of each target, by its job and address."""
    targets = _prometheus(stack, "targets")["activeTargets"]
    return {(row["labels"]["job"], row["scrapeUrl"]): row["health"] for row in targets}


def _services_in(stack: OwnStack, trace: str) -> set[str]:
    """Who has a span in the trace; none while Zipkin does not know it."""
    response = httpx.get(f"http://{stack.address('zipkin', 'stores')}:9411/api/v2/trace/{trace}", timeout=10)
    spans = response.json() if response.status_code == 200 else []
    return {span["localEndpoint"]["serviceName"] for span in spans}


def _found(stack: OwnStack, field: str, value: str) -> list[dict[str, Any]]:
    """The documents of the index with that value."""
    address = f"http://{stack.address('opensearch', 'stores')}:9200/ai102-logs-*/_search"
    response = httpx.post(address, json={"query": {"match": {field: value}}}, timeout=10)
    return [hit["_source"] for hit in response.raise_for_status().json()["hits"]["hits"]]
