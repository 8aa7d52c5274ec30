"""Real replicas, gateway, Prometheus and Alertmanager: who is paged, how often, and when it is over."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ai102.contract.serving import Goals
from ai102.gateway import certs, replicas
from ai102.gateway.exporter.serving import Exporter
from ai102.gateway.running import PROXIES, Runner
from ai102.gateway.watch import drain
from ai102_runtime.seal.private import private_file
from tests.e2e.conftest import write_repository
from tests.gateway.conftest import CALLER, ECHO_CODE, ECHO_CONFIG, SECRET, Home, needs, policy, wait_until
from tests.gateway.load import steady
from tests.gateway.tokens import TokenMaker
from tests.monitoring.stack import Stack, started
from tests.ports import free_ports
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.waits, needs("haproxy")]
PAGE_WITHIN_S = 180.0
# So long after the page nothing more may have come; a group's next turn is after 10 s.
QUIET_S = 25.0
PAGES = "/platform/page"
BOTH_UP = 'count(ai102_gateway_replica_up == 1) == 2 and on () count(up{job="triton"} == 1) == 2'
# Some 40 calls a second are load enough, and fewer than one subject may make.
REST_S = 0.05


def replica(repository: Path) -> Server:
    ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
    arguments = replicas.restricting_arguments(SECRET)
    return Server(
        repository, http_port=ports["http"], grpc_port=ports["grpc"], metrics_port=ports["metrics"],
        extra_arguments=arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    files = {"echo": {"config.pbtxt": ECHO_CONFIG.format(name="echo"), "1/model.py": ECHO_CODE}}
    repository = write_repository(tmp_path_factory.mktemp("paging") / "repository", files)
    with ExitStack() as running:
        yield [running.enter_context(replica(repository)) for _ in range(2)]


@pytest.fixture(scope="module")
def home(servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    certs.make(folder / "build" / "gateway" / "certs")
    private_file(folder / "build" / "gateway" / "secret").write_text(SECRET, encoding="utf-8")
    return Home(folder, policy([(server.http_url, server.grpc_url) for server in servers]), TokenMaker())


@pytest.fixture(scope="module")
def stack(servers: list[Server], home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    gateway = home.gateway
    targets = {
        "triton": [
            {"targets": [server.metrics_url], "labels": {"replica": name, "node": "n1"}}
            for name, server in zip("ab", servers, strict=True)
        ],
        "gateway": [{"targets": [gateway.listen.metrics], "labels": {"node": "n2"}}],
    }
    exporter = Exporter(gateway, home.folder, PROXIES["haproxy"], {"echo": Goals(p99_ms=1000)})
    exporter.follow(gateway)
    try:
        with (
            Runner(gateway, home.folder, count=exporter.take),
            started(tmp_path_factory.mktemp("monitoring"), targets) as stack,
        ):
            wait_until(lambda: bool(stack.query(BOTH_UP)), "both replicas are up", within_s=30)
            yield stack
    finally:
        exporter.stop()


def killed(server: Server) -> None:
    """By -9, with what it started; nothing starts it again."""
    os.killpg(server.pid, signal.SIGKILL)
    assert server.wait(10) is not None


def pages(stack: Stack) -> list[tuple[str, str, str]]:
    return stack.receiver.alerts(PAGES)


def test_a_replica_that_stays_down_is_one_page_in_time_and_one_resolved(
    stack: Stack, servers: list[Server], home: Home
) -> None:
    caller = home.tokens.token("ann", [CALLER])
    before = len(pages(stack))
    with steady(home, caller, "grpc", threads=2, rest_s=REST_S) as load:
        load.wait_for(20)
        killed(servers[0])
        began = time.monotonic()
        wait_until(lambda: len(pages(stack)) > before, "a page", within_s=PAGE_WITHIN_S)
        took_s = time.monotonic() - began
        time.sleep(QUIET_S)  # what must not come cannot be waited for
        assert pages(stack)[before:] == [("ReplicaDown", "firing", "a")]
        servers[0].stop(at_once=True)
        servers[0].start()
        wait_until(lambda: len(pages(stack)) > before + 1, "it is resolved", within_s=PAGE_WITHIN_S)
        assert pages(stack)[before:] == [("ReplicaDown", "firing", "a"), ("ReplicaDown", "resolved", "a")]
    assert took_s < PAGE_WITHIN_S
    assert load.failures == []
    print(f"paged after {took_s:.0f} s")  # noqa: T201 - docs/results.md has it


def test_a_replica_that_comes_back_at_once_and_a_pause_of_traffic_page_nobody(
    stack: Stack, servers: list[Server], home: Home
) -> None:
    caller = home.tokens.token("ann", [CALLER])
    before = len(stack.receiver.notifications)
    with steady(home, caller, "rest", threads=2, rest_s=REST_S) as load:
        load.wait_for(20)
        killed(servers[1])
        wait_until(lambda: is_down(stack, "b"), "it is seen", within_s=30)
        servers[1].stop(at_once=True)
        servers[1].start()
        wait_until(lambda: not is_down(stack, "b"), "it is back", within_s=60)
    arrivals = 'pipeline:arrivals:rate1m{pipeline="echo"}'
    wait_until(lambda: stack.query(f"{arrivals} < 0.01") != [], "the traffic has paused", within_s=90)
    assert [row["metric"] for row in stack.query('ALERTS{alertstate="firing", severity="page"}')] == []
    assert stack.receiver.notifications[before:] == []


def test_a_rolling_restart_fires_no_alert_and_fails_no_call(stack: Stack, servers: list[Server], home: Home) -> None:
    """As docs/gateway.md has it: drain a replica, restart it, let it have calls again; then the next one."""
    caller = home.tokens.token("ann", [CALLER])
    before, began = len(stack.receiver.notifications), time.monotonic()
    with steady(home, caller, "grpc", threads=2, rest_s=REST_S) as load:
        for name, server in zip("ab", servers, strict=True):
            load.wait_for(20)
            drain(home.gateway, home.folder, "haproxy", name, wait_s=20)
            server.stop()
            wait_until(lambda: not stack.query(BOTH_UP), f"Prometheus sees that {name} is away", within_s=30)
            server.start()
            PROXIES["haproxy"].undrain(home.gateway, home.folder, name)
            wait_until(lambda: bool(stack.query(BOTH_UP)), f"{name} is back", within_s=60)
    since_s = int(time.monotonic() - began) + 1
    fired = stack.query(f'count_over_time(ALERTS{{alertstate="firing"}}[{since_s}s])')
    assert [row["metric"] for row in fired] == []
    assert stack.receiver.notifications[before:] == []
    assert load.failures == []


def is_down(stack: Stack, replica: str) -> bool:
    return bool(stack.query(f'replica:down{{replica="{replica}"}}'))


def test_a_dead_node_silences_what_ran_on_it(stack: Stack) -> None:
    before = len(pages(stack))
    page = {"severity": "page", "team": "platform"}
    stack.fire(
        [
            page | {"alertname": "NodeDown", "node": "n7"},
            page | {"alertname": "ReplicaDown", "node": "n7", "replica": "x"},
            page | {"alertname": "StubDead", "node": "n7", "replica": "x", "team": "models"},
            page | {"alertname": "ReplicaDown", "node": "n8", "replica": "y"},
        ]
    )
    wait_until(lambda: len(pages(stack)) >= before + 2, "two pages", within_s=60)
    time.sleep(QUIET_S)  # what must not come cannot be waited for
    assert sorted(pages(stack)[before:]) == [("NodeDown", "firing", ""), ("ReplicaDown", "firing", "y")]
    assert stack.receiver.alerts("/models/page") == []
