"""Replicas that DNS tells HAProxy come, go, die and are not forgotten, while requests flow over kept connections."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from dnslib import RCODE

from ai102.errors import UserError
from ai102.gateway import replicas, running
from ai102.gateway.exporter.asking import Asking
from ai102.gateway.haproxy import proxy, sockets
from ai102.gateway.running import Runner
from tests.gateway.access_log import failed_rows, row_of, rows, was_cut
from tests.gateway.asking import Asker, infer_message, tensor_json
from tests.gateway.cluster_dns import SERVICE, ClusterDns
from tests.gateway.conftest import SECRET, Home, MakeHome, needs, wait_until
from tests.gateway.load import INFER, Load, steady
from tests.servers import Server

pytestmark = [pytest.mark.e2e, needs("haproxy")]

NO_LIMIT = {"requests_per_10s": 10_000_000}
# So many calls are enough to say that a replica would have got one.
ENOUGH = 200


@pytest.fixture
def dns() -> Iterator[ClusterDns]:
    with ClusterDns().running() as server:
        yield server


def dns_table(nameserver: str, **more: object) -> dict[str, object]:
    table = {"service": SERVICE, "nameserver": nameserver, "at_most": 6} | more
    return {"discovery": "dns", "replicas": [], "dns": table}


@pytest.fixture
def home(dns: ClusterDns, make_home: MakeHome) -> Home:
    return make_home(triton=dns_table(dns.address), limits=NO_LIMIT)


def host_of(server: Server) -> str:
    return f"replica-{server.http_url.rpartition(':')[2]}"


def records_of(*servers: Server) -> dict[str, tuple[str, str]]:
    return {host_of(server): (server.http_url, server.grpc_url) for server in servers}


def names(home: Home) -> set[str]:
    """The hosts of which any backend of the running HAProxy still knows."""
    servers = sockets.servers(proxy.folder_of(home.folder))
    return {row["srv_fqdn"].partition(".")[0] for row in servers} - {"-"}


def up(home: Home) -> int:
    return sum(state.is_up for state in proxy.states(home.gateway, home.folder))


def wait_for_replicas(home: Home, count: int) -> None:
    """Until so many are known, and all are up."""
    wait_until(
        lambda: [state.is_up for state in proxy.states(home.gateway, home.folder)] == [True] * count,
        f"{count} replicas are up",
        within_s=30,
    )


def inferences(server: Server) -> int:
    """How many the model echo of this server has answered."""
    stats = httpx.get(f"http://{server.http_url}/v2/models/echo/stats", trust_env=False).json()
    return int(stats["model_stats"][0]["inference_count"])


def seconds_until(holds: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    wait_until(holds, what, within_s=30)
    return time.monotonic() - began


def gets_none(server: Server, load: Load) -> bool:
    before = inferences(server)
    load.wait_for(ENOUGH)
    return inferences(server) == before


def test_replicas_come_and_go_under_load_without_a_failed_call(
    three_replicas: list[Server], dns: ClusterDns, home: Home, caller: str, record_property: Callable[..., None]
) -> None:
    first, second, third = three_replicas
    dns.replicas = records_of(first)
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        wait_for_replicas(home, 1)
        with steady(home, caller, "rest", 2) as rest, steady(home, caller, "grpc", 2) as grpc:
            rest.wait_for(ENOUGH)
            before = inferences(second)
            dns.replicas = records_of(first, second)
            took_s = seconds_until(lambda: inferences(second) > before, "a replica that is new gets a call")
            record_property("seconds from a new record to its first call", f"{took_s:.1f}")
            dns.replicas = records_of(second, third)
            took_s = seconds_until(lambda: gets_none(first, grpc), "a replica without a record gets no call")
            record_property("seconds from the end of a record to its last call", f"{took_s:.1f}")
            wait_for_replicas(home, 2)
            assert gets_none(first, rest)
    assert (rest.failures, grpc.failures) == ([], []), failed_rows(home.folder / "log")


def test_a_replica_that_leaves_finishes_what_it_has(
    three_replicas: list[Server], dns: ClusterDns, home: Home, caller: str
) -> None:
    dns.replicas = records_of(three_replicas[0])
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        wait_for_replicas(home, 1)
        asker, answers = Asker(home), list[str]()
        slow = [
            threading.Thread(target=lambda: answers.append(asker.call(infer_message(sleep_ms=5000), caller))),
            threading.Thread(
                target=lambda: answers.append(str(asker.status("POST", INFER, caller, json=tensor_json())))
            ),
        ]
        slow[0].start()
        wait_until(lambda: proxy.states(home.gateway, home.folder)[0].busy == 1, "it has the first")
        slow[1].start()
        wait_until(lambda: proxy.states(home.gateway, home.folder)[0].busy == 2, "it has both")
        dns.replicas = records_of(three_replicas[1])
        wait_until(lambda: names(home) == {host_of(three_replicas[1])}, "it is forgotten")
        assert asker.call(infer_message(), caller) == "OK"
        assert answers == []
        for thread in slow:
            thread.join()
        assert sorted(answers) == ["200", "OK"]
        asker.close()


@pytest.mark.parametrize("fault", ["no server", "SERVFAIL"])
def test_calls_go_on_with_the_last_replicas_while_dns_does_not_answer(
    fault: str, three_replicas: list[Server], make_home: MakeHome, caller: str
) -> None:
    dns = ClusterDns()
    dns.replicas = records_of(*three_replicas[:2])
    with ExitStack() as answering:
        answering.enter_context(dns.running())
        home = make_home(triton=dns_table(dns.address), limits=NO_LIMIT)
        with Runner(home.gateway, home.folder, log=home.folder / "log"):
            wait_for_replicas(home, 2)
            with steady(home, caller, "rest", 1) as rest, steady(home, caller, "grpc", 1) as grpc:
                if fault == "SERVFAIL":
                    dns.rcode = RCODE.SERVFAIL
                else:
                    answering.close()
                wait_for_questions(home, 8)
                assert up(home) == 2
                if fault == "no server":
                    running.reload(home.gateway, home.folder, "haproxy")
                    wait_for_questions(home, 8)
                    assert up(home) == 2
                grpc.wait_for(ENOUGH)
            assert (rest.failures, grpc.failures) == ([], []), failed_rows(home.folder / "log")


def wait_for_questions(home: Home, count: int) -> None:
    """Until DNS was asked so often in vain: two questions with two tries each are one resolution that failed."""
    asked = sent(home)
    wait_until(lambda: sent(home) >= asked + count, f"DNS is asked {count} times", within_s=30)


def sent(home: Home) -> int:
    """Questions that HAProxy has sent to its nameserver."""
    words = sockets.ask(proxy.folder_of(home.folder), sockets.ADMIN, "show resolvers cluster").split()
    return sum(int(words[place + 1]) for place, word in enumerate(words) if word in ("sent:", "snd_error:"))


def test_without_any_replica_calls_are_refused_as_not_available_and_later_answered_again(
    three_replicas: list[Server], dns: ClusterDns, home: Home, caller: str
) -> None:
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        asker = Asker(home)
        for _ in range(2):
            wait_until(lambda: asker.call(infer_message(), caller) == "UNAVAILABLE", "gRPC is not available")
            wait_until(lambda: asker.status("POST", INFER, caller, json=tensor_json()) == 503, "REST is not available")
            assert proxy.states(home.gateway, home.folder) == []
            dns.replicas = records_of(*three_replicas[:2])
            wait_for_replicas(home, 2)
            assert asker.call(infer_message(), caller) == "OK"
            assert asker.status("POST", INFER, caller, json=tensor_json()) == 200
            dns.replicas = {}
        asker.close()


def test_a_replica_that_dies_while_dns_still_tells_it_costs_only_answers_that_had_begun(
    three_replicas: list[Server], echo_repository: Path, dns: ClusterDns, home: Home, caller: str
) -> None:
    arguments = replicas.restricting_arguments(SECRET)
    log = home.folder / "log"
    with Server(echo_repository, http_port=0, grpc_port=0, metrics_port=0, extra_arguments=arguments) as own:
        dns.replicas = records_of(own, three_replicas[0])
        with Runner(home.gateway, home.folder, log=log):
            wait_for_replicas(home, 2)
            with steady(home, caller, "rest", 2) as rest, steady(home, caller, "grpc", 2) as grpc:
                rest.wait_for(ENOUGH)
                os.killpg(own.pid, signal.SIGKILL)
                wait_until(lambda: up(home) == 1, "its checks fail over both protocols")
                grpc.wait_for(ENOUGH)
    begun = sum(was_cut(row) for row in rows(log))
    assert len(rest.failures + grpc.failures) <= begun, failed_rows(log)


def test_a_reload_loses_no_call_and_no_replica(
    three_replicas: list[Server], dns: ClusterDns, home: Home, caller: str
) -> None:
    dns.replicas = records_of(*three_replicas)
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        wait_for_replicas(home, 3)
        with steady(home, caller, "rest", 2) as rest, steady(home, caller, "grpc", 2) as grpc:
            rest.wait_for(ENOUGH)
            running.reload(home.gateway, home.folder, "haproxy")
            assert up(home) == 3
            grpc.wait_for(ENOUGH)
            dns.replicas = records_of(*three_replicas[:2])
            wait_for_replicas(home, 2)
    assert (rest.failures, grpc.failures) == ([], []), failed_rows(home.folder / "log")


def test_metrics_and_log_name_replicas_by_address_and_count_no_free_place(
    three_replicas: list[Server], dns: ClusterDns, make_home: MakeHome, caller: str
) -> None:
    home = make_home(triton=dns_table(dns.address, expected=3), limits=NO_LIMIT)
    first, second = three_replicas[:2]
    dns.replicas = records_of(first)
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        wait_for_replicas(home, 1)
        assert series(home, "ai102_gateway_replica_up") == {("127.0.0.1",): 1}
        assert series(home, "ai102_gateway_replicas_expected") == {(): 3}
        asker = Asker(home)
        assert asker.call(infer_message(), caller, metadata={"x-request-id": "grpc"}) == "OK"
        assert asker.status("POST", INFER, caller, json=tensor_json(), headers={"x-request-id": "rest"}) == 200
        assert {row_of(home.folder / "log", name)["replica"] for name in ("grpc", "rest")} == {"127-0-0-1"}
        dns.replicas = records_of(first, second)
        wait_for_replicas(home, 2)
        assert series(home, "ai102_gateway_replica_up") == {(first.http_url,): 1, (second.http_url,): 1}
        with pytest.raises(
            UserError, match=r'triton.discovery is "dns", and only replicas with a name there are drained'
        ):
            proxy.drain(home.gateway, home.folder, "127.0.0.1")
        asker.close()


def series(home: Home, name: str) -> dict[tuple[str, ...], float]:
    metrics = {metric.name: metric for metric in Asking(home.gateway, home.folder, proxy, ["echo"]).collect()}
    return {tuple(sample.labels.values()): sample.value for sample in metrics[name].samples}


def test_a_cache_between_keeps_a_replica_no_longer_than_a_stop_waits(
    three_replicas: list[Server], dns: ClusterDns, home: Home, caller: str, record_property: Callable[..., None]
) -> None:
    table = home.gateway.triton.dns
    assert table is not None
    dns.replicas = records_of(*three_replicas[:2])
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        wait_for_replicas(home, 2)
        dns.cache_s = table.ttl_s
        with steady(home, caller, "grpc", 1, rest_s=0.01) as load:
            asked = dns.asked
            wait_until(lambda: dns.asked >= asked + 2, "the cache is full")
            dns.replicas = records_of(three_replicas[1])
            took_s = seconds_until(lambda: names(home) == {host_of(three_replicas[1])}, "the gateway hears of it")
    record_property("seconds from the end of a cached record to the gateway's", f"{took_s:.1f}")
    assert load.failures == []
    assert took_s < table.stop_wait_s
