"""The exporter before real proxies and replicas: what it counts, what is in flight, and what it says with no proxy."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from ai102.contract.serving import Goals
from ai102.errors import UserError
from ai102.gateway.exporter.serving import Exporter
from ai102.gateway.running import PROXIES, ProxyName, Runner, reload
from tests.gateway.asking import SERVICE, Asker, infer_message, tensor_json
from tests.gateway.conftest import Home, MakeHome, needs, wait_until

pytestmark = pytest.mark.e2e
INFER = "/v2/models/echo/infer"
GOALS = {"echo": Goals(p99_ms=2000)}
SLEEP_MS = 3000


class Scraper:
    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/metrics"

    def text(self) -> str:
        return httpx.get(self._url, trust_env=False, timeout=10).text

    def value(self, name: str, **labels: str) -> float | None:
        """The sample with exactly these labels, in any order."""
        for line in self.text().splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and dict(re.findall(r'(\w+)="([^"]*)"', found[2] or "")) == labels:
                return float(found[3])
        return None


@contextmanager
def opened(home: Home, proxy: ProxyName) -> Iterator[Scraper]:
    exporter = Exporter(home.gateway, home.folder, PROXIES[proxy], GOALS)
    try:
        exporter.follow(home.gateway)
        with Runner(home.gateway, home.folder, proxy, count=exporter.take):
            yield Scraper(home.gateway.listen.metrics)
    finally:
        exporter.stop()


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def proxy(request: pytest.FixtureRequest) -> ProxyName:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def home(make_home: MakeHome) -> Home:
    return make_home()


@pytest.fixture(scope="module")
def scraper(home: Home, proxy: ProxyName) -> Iterator[Scraper]:
    with opened(home, proxy) as scraper:
        yield scraper


@pytest.fixture
def asker(home: Home, scraper: Scraper) -> Iterator[Asker]:
    asker = Asker(home)
    yield asker
    asker.close()


def counted(scraper: Scraper, pipeline: str, protocol: str, outcome: str) -> float:
    value = scraper.value("ai102_gateway_requests_total", pipeline=pipeline, protocol=protocol, outcome=outcome)
    return value or 0.0


@contextmanager
def one_more(scraper: Scraper, pipeline: str, protocol: str, outcome: str) -> Iterator[None]:
    """Within the block one call ends so."""
    before = counted(scraper, pipeline, protocol, outcome)
    yield
    wait_until(
        lambda: counted(scraper, pipeline, protocol, outcome) == before + 1, f"one more {pipeline} {protocol} {outcome}"
    )


def test_every_outcome_is_counted(scraper: Scraper, asker: Asker, caller: str, operator: str) -> None:
    with one_more(scraper, "echo", "rest", "ok"), one_more(scraper, "echo", "grpc", "ok"):
        assert asker.status("POST", INFER, caller, json=tensor_json()) == 200
        assert asker.call(infer_message(), caller) == "OK"
    with one_more(scraper, "echo", "rest", "refused"), one_more(scraper, "other", "grpc", "refused"):
        assert asker.status("POST", INFER, json=tensor_json()) == 401
        assert asker.call(infer_message()) == "UNAUTHENTICATED"
    wrong = {"inputs": [{"name": "NONE", "datatype": "UINT8", "shape": [1], "data": [1]}]}
    with one_more(scraper, "echo", "rest", "client_error"):
        assert asker.status("POST", INFER, caller, json=wrong) == 400
    with one_more(scraper, "other", "rest", "ok"):
        assert asker.status("POST", "/v2/models/hidden/infer", operator, json=tensor_json()) == 200
    infer, metadata = asker.channel.unary_unary(SERVICE + "ModelInfer"), (("authorization", f"Bearer {caller}"),)
    with one_more(scraper, "echo", "grpc", "cancelled"), pytest.raises(grpc.RpcError):
        infer(infer_message(sleep_ms=1000), metadata=metadata, timeout=0.3)


def test_the_histogram_has_the_time_of_answered_calls(scraper: Scraper, asker: Asker, caller: str) -> None:
    name, labels = "ai102_gateway_request_duration_seconds", {"pipeline": "echo", "protocol": "rest"}
    before = [scraper.value(f"{name}_bucket", **labels, le=bound) or 0 for bound in ("0.25", "2.0")]
    with one_more(scraper, "echo", "rest", "ok"):
        assert asker.status("POST", INFER, caller, json=tensor_json(sleep_ms=600)) == 200
    after = [scraper.value(f"{name}_bucket", **labels, le=bound) for bound in ("0.25", "2.0")]
    assert after == [before[0], before[1] + 1]


def in_flight(scraper: Scraper) -> list[float | None]:
    replicas = sum(scraper.value("ai102_gateway_replica_in_flight", replica=name) or 0 for name in "abc")
    return [scraper.value("ai102_gateway_in_flight", pipeline=name) for name in ("echo", "other")] + [replicas]


def test_calls_in_flight_are_exact_when_scraped_also_over_a_reload(
    scraper: Scraper, home: Home, proxy: ProxyName, asker: Asker, caller: str, operator: str
) -> None:
    assert in_flight(scraper) == [0, 0, 0]
    # Not more than there are replicas: each sleeps for one call at a time.
    asks: list[Callable[[], object]] = [
        lambda: asker.status("POST", INFER, caller, json=tensor_json(sleep_ms=SLEEP_MS)),
        lambda: asker.call(infer_message(sleep_ms=SLEEP_MS), caller),
        lambda: asker.status("POST", "/v2/models/hidden/infer", operator, json=tensor_json(sleep_ms=SLEEP_MS)),
    ]
    with ThreadPoolExecutor(len(asks)) as pool:
        answers = [pool.submit(ask) for ask in asks]
        wait_until(lambda: in_flight(scraper)[:2] == [2, 1], "three in flight")
        assert in_flight(scraper) == [2, 1, 3]
        reload(home.gateway, home.folder, proxy)
        assert in_flight(scraper)[:2] == [2, 1]
        assert [answer.result() for answer in answers] == [200, "OK", 200]
    wait_until(lambda: in_flight(scraper) == [0, 0, 0], "none in flight")


def test_replicas_and_certificates_are_told(scraper: Scraper, home: Home, proxy: ProxyName) -> None:
    assert scraper.value("ai102_gateway_up") == 1
    wait_until(lambda: scraper.value("ai102_gateway_replica_up", replica="a") == 1, "replica a is up")
    PROXIES[proxy].drain(home.gateway, home.folder, "b")
    assert [scraper.value("ai102_gateway_replica_drained", replica=name) for name in "ab"] == [0, 1]
    PROXIES[proxy].undrain(home.gateway, home.folder, "b")
    expires = scraper.value("ai102_certificate_expiry_timestamp_seconds", certificate="server")
    assert 390 * 86400 < (expires or 0) - time.time() < 400 * 86400


def test_without_its_proxy_the_exporter_says_so(make_home: MakeHome, proxy: ProxyName) -> None:
    home = make_home()
    exporter = Exporter(home.gateway, home.folder, PROXIES[proxy], GOALS)
    exporter.follow(home.gateway)
    try:
        scraper = Scraper(home.gateway.listen.metrics)
        assert scraper.value("ai102_gateway_up") == 0
        assert scraper.value("ai102_gateway_replica_up", replica="a") is None
        assert counted(scraper, "echo", "rest", "failed") == 0
    finally:
        exporter.stop()


def test_an_address_that_is_taken_is_one_line(make_home: MakeHome, tmp_path: Path) -> None:
    home = make_home()
    first, second = (Exporter(home.gateway, tmp_path, PROXIES["haproxy"], GOALS) for _ in range(2))
    first.follow(home.gateway)
    try:
        with pytest.raises(UserError, match=r"gateway\.toml: listen\.metrics: cannot listen on"):
            second.follow(home.gateway)
    finally:
        first.stop()
