"""Traces through either proxy: what of a caller's trace goes on, what a replica is told of it, and what is logged."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from ai102.gateway import certs
from ai102.gateway.exporter.serving import Exporter
from ai102.gateway.haproxy import proxy as haproxy
from ai102.gateway.policy import Traces
from ai102.gateway.running import ProxyName, Runner
from ai102.gateway.traces import GatewaySpans
from ai102.tracing.counted import SpanCounts
from ai102.tracing.exporter import Counts
from ai102_runtime.seal.private import private_file
from tests.gateway.access_log import row_of
from tests.gateway.asking import SERVICE, Asker, infer_message, tensor_json
from tests.gateway.conftest import SECRET, Home, needs, policy, wait_until
from tests.gateway.recorders import GrpcRecorder, Recorder
from tests.gateway.tokens import ROLES, TokenMaker
from tests.tracing.taking import Collector

pytestmark = pytest.mark.e2e
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ASKS, ASKS_NOT = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
INFER = "/v2/models/echo/infer"
NOWHERE = "http://127.0.0.1:9"  # a collector that is never there

HOSTILE: list[list[tuple[str, str]]] = [
    [("traceparent", "00-" + "0" * 32 + f"-{PARENT}-01")],
    [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
    [("traceparent", ASKS.upper())],
    [("traceparent", ASKS + "-more")],
    [("traceparent", ASKS + "," + ASKS)],
    [("traceparent", ASKS), ("traceparent", ASKS)],
    [("traceparent", ASKS), ("traceparent", ASKS_NOT)],
    [("traceparent", "")],
    [("traceparent", "-" * 8000)],
    [("traceparent", '","sampled":true,"x":"')],
    [("tracestate", "vendor=" + "x" * 4000)],
]


@dataclass
class Setting:
    """A gateway before recorders, and a caller who may infer with everything."""

    home: Home
    log: Path
    rest: Recorder
    grpc: GrpcRecorder
    api: Recorder
    asker: Asker
    token: str
    number: int = field(default=0)

    def rest_call(self, *headers: tuple[str, str], path: str = INFER, token: str = "") -> dict[str, Any]:
        """The row of an inference over REST that was answered well."""
        self.number += 1
        sent = [("authorization", f"Bearer {token or self.token}"), ("x-request-id", f"r{self.number}"), *headers]
        body = tensor_json() if path.startswith("/v2") else {"text": "a"}
        answer = self.asker.rest.post(path, json=body, headers=sent)
        assert answer.status_code == 200, answer.text
        return row_of(self.log, f"r{self.number}")

    def grpc_call(self, *headers: tuple[str, str], method: str = "ModelInfer") -> dict[str, Any]:
        """The row of an inference over gRPC."""
        self.number += 1
        metadata = [("authorization", f"Bearer {self.token}"), ("x-request-id", f"r{self.number}"), *headers]
        if method == "ModelInfer":
            self.asker.channel.unary_unary(SERVICE + method)(infer_message(), metadata=metadata, timeout=20)
        else:
            messages = iter([infer_message(), infer_message()])
            list(self.asker.channel.stream_stream(SERVICE + method)(messages, metadata=metadata, timeout=20))
        return row_of(self.log, f"r{self.number}")

    def call(self, protocol: str, *headers: tuple[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        """The row of an inference, and the headers of traces that the replica got."""
        row = self.rest_call(*headers) if protocol == "rest" else self.grpc_call(*headers)
        seen = self.rest.headers[INFER] if protocol == "rest" else dict(self.grpc.metadata[-1])
        return row, {name: value for name, value in seen.items() if name.startswith("trace")}


def setting(started: ExitStack, folder: Path, tokens: TokenMaker, proxy: ProxyName, **traces: Any) -> Setting:
    recorders = {name: started.enter_context(Recorder().running()) for name in ("triton", "api", "issuer")}
    over_grpc = GrpcRecorder()
    address = started.enter_context(over_grpc.running())
    certs.make(folder / "build" / "gateway" / "certs")
    private_file(folder / "build" / "gateway" / "secret").write_text(SECRET, encoding="utf-8")
    services = {name: recorders[name].address for name in ("api", "issuer")}
    gateway = policy([(recorders["triton"].address, address)], services=services, traces=traces)
    home = Home(folder, gateway, tokens)
    started.enter_context(Runner(gateway, folder, proxy, folder / "log"))
    asker = Asker(home)
    started.callback(asker.close)
    token = tokens.token("ann", ROLES["all"])
    return Setting(home, folder / "log", recorders["triton"], over_grpc, recorders["api"], asker, token)


PROXIES = [pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")]
PROTOCOLS = pytest.mark.parametrize("protocol", ["rest", "grpc"])


@pytest.fixture(scope="module", params=PROXIES)
def only_asked(
    request: pytest.FixtureRequest, tokens: TokenMaker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setting]:
    """Nothing is sampled by chance, and of what callers ask for three in ten seconds."""
    with ExitStack() as started:
        folder = tmp_path_factory.mktemp("asked")
        yield setting(started, folder, tokens, request.param, collector=NOWHERE, sample_percent=0, asked_per_10s=3)


@pytest.fixture(scope="module", params=PROXIES)
def all_of_it(
    request: pytest.FixtureRequest, tokens: TokenMaker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setting]:
    """Every inference is sampled."""
    with ExitStack() as started:
        folder = tmp_path_factory.mktemp("all")
        yield setting(started, folder, tokens, request.param, collector=NOWHERE, sample_percent=100)


@PROTOCOLS
def test_a_callers_trace_goes_on_in_the_log_and_an_unsampled_one_goes_no_further(
    protocol: str, only_asked: Setting
) -> None:
    before = time.time() * 1e6
    row, passed = only_asked.call(protocol, ("traceparent", ASKS_NOT), ("tracestate", "a=b"))
    assert (row["trace_id"], row["parent_id"], row["sampled"]) == (TRACE, PARENT, False)
    assert (len(row["span_id"]), row["span_id"] != PARENT) == (16, True)
    assert before - 2000 <= row["began_us"] <= row["ended_us"] <= time.time() * 1e6 + 2000
    assert passed == {}


# Python's gRPC sends only the last of two.
TWICE = [headers for headers in HOSTILE if len(headers) > 1]
HOSTILE_CALLS = [("rest", one) for one in HOSTILE] + [("grpc", one) for one in HOSTILE if one not in TWICE]


@pytest.mark.parametrize(("protocol", "headers"), HOSTILE_CALLS)
def test_a_hostile_traceparent_counts_for_nothing(
    headers: list[tuple[str, str]], protocol: str, only_asked: Setting
) -> None:
    row, passed = only_asked.call(protocol, *headers)
    assert (row["trace_id"] != TRACE, len(row["trace_id"]), row["parent_id"], row["sampled"]) == (True, 32, "", False)
    assert passed == {}


@PROTOCOLS
def test_a_call_without_a_trace_gets_one_of_its_own(protocol: str, only_asked: Setting) -> None:
    rows = [only_asked.call(protocol)[0] for _ in range(3)]
    assert all(set(row["trace_id"]) <= set("0123456789abcdef") for row in rows)
    assert len({row["trace_id"] for row in rows} | {row["span_id"] for row in rows}) == 6


@PROTOCOLS
def test_what_a_caller_asks_for_is_sampled_up_to_the_limit(
    protocol: str, only_asked: Setting, tokens: TokenMaker
) -> None:
    only_asked.token = tokens.token(f"asks-{protocol}", ROLES["all"])
    calls = [only_asked.call(protocol, ("traceparent", ASKS), ("tracestate", "a=b")) for _ in range(6)]
    assert [row["sampled"] for row, _ in calls] == [True] * 3 + [False] * 3
    for row, passed in calls:
        ours = {"traceparent": f"00-{TRACE}-{row['span_id']}-01"}
        assert passed == (ours if row["sampled"] else {}), "the replica gets the gateway's span, never the caller's"
    only_asked.token = tokens.token(f"another-{protocol}", ROLES["all"])
    assert only_asked.call(protocol, ("traceparent", ASKS))[0]["sampled"], "one subject's traces cost nobody else's"


def test_the_api_gets_the_gateways_span_and_the_issuer_nothing(all_of_it: Setting) -> None:
    row = all_of_it.rest_call(("traceparent", ASKS_NOT), path="/v1/embed")
    assert all_of_it.api.headers["/v1/embed"]["traceparent"] == f"00-{TRACE}-{row['span_id']}-01"
    headers = {"traceparent": ASKS, "x-request-id": "keys"}
    assert all_of_it.asker.status("GET", "/.well-known/jwks.json", headers=headers) == 200
    assert row_of(all_of_it.log, "keys")["sampled"] is False


@PROTOCOLS
def test_of_a_gateway_that_samples_all_every_inference_has_a_span_above_it(protocol: str, all_of_it: Setting) -> None:
    row, passed = all_of_it.call(protocol)
    assert (row["sampled"], passed) == (True, {"traceparent": f"00-{row['trace_id']}-{row['span_id']}-01"})


def test_a_job_is_sampled_when_it_is_handed_in_and_not_when_it_is_followed(all_of_it: Setting) -> None:
    row = all_of_it.rest_call(path="/v1/jobs")
    passed = all_of_it.api.headers["/v1/jobs"]["traceparent"]
    assert (row["verb"], row["sampled"], passed) == ("submit", True, f"00-{row['trace_id']}-{row['span_id']}-01")
    headers = {"traceparent": ASKS, "x-request-id": "followed"}
    assert all_of_it.asker.status("GET", "/v1/jobs?x", all_of_it.token, headers=headers) == 200
    assert (row_of(all_of_it.log, "followed")["sampled"], all_of_it.api.headers["/v1/jobs?x"].get("traceparent")) == (
        False, None,
    )  # fmt: skip


def test_what_is_no_inference_is_never_sampled(all_of_it: Setting) -> None:
    for path in ("/v2", "/v2/models/echo", "/v2/health/ready"):
        headers = {"traceparent": ASKS, "x-request-id": path.replace("/", "_")}
        assert all_of_it.asker.status("GET", path, all_of_it.token, headers=headers) == 200
        assert "traceparent" not in all_of_it.rest.headers[path]
        assert row_of(all_of_it.log, path.replace("/", "_"))["sampled"] is False


def test_a_stream_is_never_sampled_since_each_of_its_messages_would_be(all_of_it: Setting) -> None:
    row = all_of_it.grpc_call(("traceparent", ASKS), method="ModelStreamInfer")
    assert row["sampled"] is False
    assert "traceparent" not in dict(all_of_it.grpc.metadata[-1])


def test_a_refused_call_is_not_sampled_and_is_logged_with_its_trace(all_of_it: Setting) -> None:
    headers = {"traceparent": ASKS, "x-request-id": "refused"}
    assert all_of_it.asker.status("POST", INFER, "no token", json=tensor_json(), headers=headers) == 401
    row = row_of(all_of_it.log, "refused")
    assert (row["trace_id"], row["sampled"]) == (TRACE, False)


@pytest.mark.parametrize("proxy", PROXIES)
def test_by_chance_as_many_are_sampled_as_the_policy_says(proxy: ProxyName, tokens: TokenMaker, tmp_path: Path) -> None:
    with ExitStack() as started:
        half = setting(started, tmp_path, tokens, proxy, collector=NOWHERE, sample_percent=50)
        sampled = [half.rest_call()["sampled"] for _ in range(200)]
    assert 60 <= sum(sampled) <= 140, "of 200 by chance; one test in ten million fails"


@pytest.mark.parametrize("proxy", PROXIES)
def test_without_a_collector_nothing_is_traced(proxy: ProxyName, tokens: TokenMaker, tmp_path: Path) -> None:
    with ExitStack() as started:
        off = setting(started, tmp_path, tokens, proxy, sample_percent=100)
        for protocol in ("rest", "grpc"):
            row, passed = off.call(protocol, ("traceparent", ASKS))
            assert (row["trace_id"], row["span_id"], row["parent_id"], row["sampled"]) == ("", "", "", False)
            assert passed == {}


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_failed_call_leaves_a_span_of_the_gateway_though_it_was_not_sampled(
    proxy: ProxyName, tokens: TokenMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as started:
        collector = started.enter_context(Collector().running())
        over_grpc = GrpcRecorder()
        address = started.enter_context(over_grpc.running())
        certs.make(tmp_path / "build" / "gateway" / "certs")
        private_file(tmp_path / "build" / "gateway" / "secret").write_text(SECRET, encoding="utf-8")
        over_rest = started.enter_context(Recorder().running())
        traces = {"collector": collector.url, "sample_percent": 0, "asked_per_10s": 0}
        home = Home(tmp_path, policy([(over_rest.address, address)], traces=traces), tokens)
        spans = GatewaySpans(home.gateway.traces, proxy, print)
        started.callback(spans.close)
        started.enter_context(Runner(home.gateway, tmp_path, proxy, count=spans.take))
        asker = Asker(home)
        started.callback(asker.close)
        over_grpc.status = grpc.StatusCode.INTERNAL
        sent = [("authorization", f"Bearer {tokens.token('ann', ROLES['all'])}"), ("traceparent", ASKS)]
        with pytest.raises(grpc.RpcError):
            asker.channel.unary_unary(SERVICE + "ModelInfer")(infer_message(), metadata=sent, timeout=20)
        wait_until(lambda: len(collector.spans) == 1, "the span of the failed call")
    (span,) = collector.spans
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [row["span_id"] for row in rows] == [span["spanId"]]
    assert (span["traceId"], span["parentSpanId"], span["name"]) == (TRACE, PARENT, "infer echo")
    assert span["status"] == {"code": 2, "message": "gRPC status 13"}
    assert (span["resource"]["service.name"], span["resource"]["ai102.proxy"]) == ("gateway", proxy)


FAILED_ROW = json.dumps(
    {"status": 500, "grpc_status": None, "refused": "", "milliseconds": {"all": 1}, "sampled": False, "began_us": 1,
     "ended_us": 2, "trace_id": TRACE, "span_id": PARENT, "parent_id": "", "verb": "infer", "method": "POST",
     "model": "echo", "subject": "ann", "protocol": "rest", "version": "", "replica": "a", "bytes_in": 1,
     "bytes_out": 1}, separators=(",", ":"),
).encode()  # fmt: skip


def test_another_policy_names_another_collector_or_none(tmp_path: Path) -> None:
    with Collector().running() as first, Collector().running() as second:
        policies = [Traces(collector=url) for url in (first.url, second.url, "")]
        spans = GatewaySpans(policies[0], "haproxy", print)
        for traces in policies:
            spans.follow(traces)
            spans.take(FAILED_ROW)
        spans.close()
        wait_until(lambda: (len(first.spans), len(second.spans)) == (1, 1), "one span at each")
    assert spans.counts == Counts(sent=2, dropped=0)


def test_what_a_collector_refuses_prometheus_is_told_as_dropped(tmp_path: Path) -> None:
    with Collector([400]).running() as refusing, Collector().running() as taking:
        spans = GatewaySpans(Traces(collector=refusing.url), "haproxy", print)
        gateway = policy([("127.0.0.1:8000", "127.0.0.1:8001")])
        exporter = Exporter(gateway, tmp_path, haproxy, {}, [SpanCounts(lambda: spans.counts)])
        try:
            exporter.follow(gateway)
            spans.take(FAILED_ROW)
            wait_until(lambda: spans.counts.dropped == 1, "the refused span counted")
            spans.follow(Traces(collector=taking.url))
            spans.take(FAILED_ROW)
            wait_until(lambda: spans.counts.sent == 1, "the span at the other collector counted")
            text = httpx.get(f"http://{gateway.listen.metrics}/metrics", trust_env=False, timeout=10).text
        finally:
            spans.close()
            exporter.stop()
    assert [line for line in text.splitlines() if line.startswith("ai102_spans_total")] == [
        'ai102_spans_total{outcome="sent"} 1.0',
        'ai102_spans_total{outcome="dropped"} 1.0',
    ]


def test_a_collector_is_named_without_a_path() -> None:
    with pytest.raises(ValueError, match="collector"):
        Traces(collector="http://127.0.0.1:4318/v1/traces")
