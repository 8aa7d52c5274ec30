"""nginx and its replicas: drained, undrained, killed and reloaded under load, and how requests are spread."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ai102.gateway import running, watch
from ai102.gateway.nginx import proxy
from ai102.gateway.running import Runner
from tests.gateway.access_log import row_of, rows
from tests.gateway.asking import Asker, infer_message
from tests.gateway.attackers import Target, asked, connected, request
from tests.gateway.attacks_over_rest import BODY, JSON
from tests.gateway.conftest import Home, MakeHome, needs, wait_until
from tests.gateway.load import Protocol, steady
from tests.gateway.proxy_cpu import processes_of
from tests.servers import Server

pytestmark = [pytest.mark.e2e, needs("nginx")]
FREE_PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
MANY = {"requests_per_10s": 10_000_000}


@pytest.fixture
def home(make_home: MakeHome) -> Iterator[Home]:
    home = make_home(limits=MANY)
    with Runner(home.gateway, home.folder, "nginx", home.folder / "log"):
        yield home


def target_of(home: Home, token: str) -> Target:
    return Target(home.gateway.listen.rest, home.gateway.listen.grpc, home.ca, token)


def replica_of_each(home: Home) -> list[str]:
    """Which replica each answered request went to, as the log tells it."""
    return [row["replica"] for row in rows(home.folder / "log") if row["replica"]]


def states(home: Home) -> dict[str, tuple[bool, bool]]:
    """By replica, whether it is up and whether it is drained."""
    return {state.name: (state.is_up, state.is_drained) for state in proxy.states(home.gateway, home.folder)}


def busy(home: Home, name: str) -> int:
    return next(state.busy for state in proxy.states(home.gateway, home.folder) if state.name == name)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_draining_and_undraining_under_load_fails_no_request(protocol: Protocol, home: Home, caller: str) -> None:
    with steady(home, caller, protocol) as load:
        load.wait_for(100)
        proxy.drain(home.gateway, home.folder, "b")
        assert states(home) == {"a": (True, False), "b": (True, True), "c": (True, False)}
        wait_until(lambda: busy(home, "b") == 0, "the drained replica has no request")
        # The rows before this one's are those of requests that had ended.
        asked(target_of(home, caller), request("GET /none", "X-Request-Id: drained"))
        row_of(home.folder / "log", "drained")
        before = len(replica_of_each(home))
        load.wait_for(100)
        assert set(replica_of_each(home)[before:]) == {"a", "c"}
        proxy.undrain(home.gateway, home.folder, "b")
        before = len(replica_of_each(home))
        load.wait_for(100)
        assert set(replica_of_each(home)[before:]) == {"a", "b", "c"}
    assert load.failures == []


def test_a_reload_under_load_fails_no_call_and_keeps_what_is_drained(home: Home, caller: str) -> None:
    proxy.drain(home.gateway, home.folder, "b")
    with steady(home, caller, "grpc") as load:
        load.wait_for(100)
        for _ in range(3):
            running.reload(home.gateway, home.folder, "nginx")
            load.wait_for(200)
    assert (load.failures, states(home)["b"]) == ([], (True, True))


def test_a_caller_that_leaves_keeps_no_replica_busy(home: Home, caller: str) -> None:
    target = target_of(home, caller)
    slow = json.dumps(json.loads(BODY) | {"parameters": {"sleep_ms": 1000}}).encode()
    with connected(target) as connection:
        connection.sendall(request("POST /v2/models/echo/infer", target.bearer, JSON, body=slow))
        wait_until(lambda: sum(busy(home, name) for name in "abc") == 1, "the request is at a replica")
    wait_until(lambda: sum(busy(home, name) for name in "abc") == 0, "no replica is busy")


def test_a_worker_that_dies_with_calls_in_flight_keeps_no_replica_busy(make_home: MakeHome, caller: str) -> None:
    home = make_home()
    slow = json.dumps(json.loads(BODY) | {"parameters": {"sleep_ms": 3000}}).encode()
    with Runner(home.gateway, home.folder, "nginx", home.folder / "log") as gateway, ExitStack() as open_connections:
        target = target_of(home, caller)
        for _ in range(6):
            connection = open_connections.enter_context(connected(target))
            connection.sendall(request("POST /v2/models/echo/infer", target.bearer, JSON, body=slow))
        wait_until(lambda: sum(busy(home, name) for name in "abc") == 6, "the requests are at replicas")
        for worker in processes_of(gateway.pid)[1:]:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: is_answered(target), "new workers answer")
        wait_until(lambda: all(busy(home, name) == 0 for name in "abc"), "no replica is busy", within_s=5)
        watch.drain(home.gateway, home.folder, "nginx", "a", 5)
        call_in_turn(home, caller, 4)
        # A row is written after its call is answered.
        wait_until(lambda: {row["replica"] for row in rows(home.folder / "log")[-4:]} == {"b", "c"}, "a gets no call")


def call_in_turn(home: Home, token: str, count: int) -> None:
    """So many good calls over one connection."""
    asker = Asker(home)
    assert [asker.call(infer_message(), token) for _ in range(count)] == ["OK"] * count
    asker.close()


def is_answered(target: Target) -> bool:
    try:
        return asked(target, request("GET /v2/models/echo", target.bearer)) == 200
    except OSError:
        return False


def test_an_error_of_nginx_keeps_no_replica_busy(make_home: MakeHome, caller: str) -> None:
    home = make_home([("127.0.0.1:9", "127.0.0.1:10")])
    with Runner(home.gateway, home.folder, "nginx", home.folder / "log"):
        assert asked(target_of(home, caller), request("GET /v2", f"Authorization: Bearer {caller}")) == 503
        wait_until(lambda: busy(home, "a") == 0, "a is not busy")  # it is counted down after the answer


def test_where_all_are_said_to_be_down_each_is_tried(make_home: MakeHome, echo_repository: Path, caller: str) -> None:
    dead = [("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:3", "127.0.0.1:4")]
    with Server(echo_repository, **FREE_PORTS) as server:  # type: ignore[arg-type]
        home = make_home([*dead, ("127.0.0.1:5", server.grpc_url)], limits=MANY)  # its health is asked where nobody is
        with Runner(home.gateway, home.folder, "nginx", home.folder / "log"):
            wait_until(lambda: not any(is_up for is_up, _ in states(home).values()), "all are said to be down")
            with steady(home, caller, "grpc") as load:
                load.wait_for(300)
    assert load.failures == []


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_replica_killed_under_load_fails_at_most_one_request_in_a_thousand(
    protocol: Protocol, make_home: MakeHome, echo_repository: Path, caller: str
) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(echo_repository, **FREE_PORTS)) for _ in range(3)]  # type: ignore[arg-type]
        home = make_home([(server.http_url, server.grpc_url) for server in servers], limits=MANY)
        stack.enter_context(Runner(home.gateway, home.folder, "nginx", home.folder / "log"))
        with steady(home, caller, protocol) as load:
            load.wait_for(300)
            os.killpg(servers[1].pid, signal.SIGKILL)
            wait_until(lambda: states(home)["b"] == (False, False), "the gateway knows that it is gone")
            load.wait_for(1000)
    # An answer that had begun cannot be asked for again.
    assert len(load.failures) <= load.done / 1000, load.outcomes


@pytest.mark.parametrize(
    ("balance", "weights", "expected"),
    [
        ("roundrobin", (1, 1, 1), {"a": 8, "b": 8, "c": 8}),
        ("roundrobin", (4, 1, 1), {"a": 16, "b": 4, "c": 4}),
        ("leastconn", (1, 1, 1), {"a": 8, "b": 8, "c": 8}),
    ],
)
def test_requests_one_after_the_other_are_spread_by_weight(
    balance: str, weights: tuple[int, ...], expected: dict[str, int], make_home: MakeHome, caller: str
) -> None:
    home = with_balance(make_home(), balance, weights)
    assert spread(home, caller, 24) == expected


def test_one_source_keeps_its_replica(make_home: MakeHome, caller: str) -> None:
    home = with_balance(make_home(), "source", (1, 1, 1))
    assert list(spread(home, caller, 12).values()) == [12]


def with_balance(home: Home, balance: str, weights: tuple[int, ...]) -> Home:
    content = home.gateway.model_dump()
    content["triton"]["balance"] = balance
    for replica, weight in zip(content["triton"]["replicas"], weights, strict=True):
        replica["weight"] = weight
    return Home(home.folder, type(home.gateway).model_validate(content), home.tokens)


def spread(home: Home, token: str, count: int) -> dict[str, int]:
    """How many of `count` calls over one connection, and so by one worker, each replica got."""
    with Runner(home.gateway, home.folder, "nginx", home.folder / "log"):
        call_in_turn(home, token, count)
        wait_until(lambda: len(replica_of_each(home)) == count, "the log has them")
        return dict(sorted(Counter(replica_of_each(home)).items()))
