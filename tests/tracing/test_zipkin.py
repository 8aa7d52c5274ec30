"""One call from its program to Triton, as the real Zipkin shows it: over REST, over gRPC, and by way of the API.

With AI102_PICTURES=FOLDER the picture of docs/traces.md is drawn into the folder.
"""

import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tomlkit
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from PIL import Image

from ai102.client import Client, InferenceError, Tls, traces
from ai102.gateway import certs, replicas
from ai102.serve.traces import tracing_arguments
from ai102_runtime.seal.private import private_file
from tests.api.served import ROOT, served
from tests.e2e.conftest import write_repository
from tests.gateway.conftest import ECHO_CODE, ECHO_CONFIG, SECRET, Home, needs, policy, wait_until
from tests.gateway.tokens import ROLES, TokenMaker
from tests.ports import free_addresses
from tests.servers import Server
from tests.tracing.picture import draw
from tests.tracing.zipkin import Node, Zipkin, collector_running, tops_of, zipkin_running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
INPUTS = {"IN": np.zeros(1, np.uint8)}
# Clocks of several processes on one machine, of which nginx's tells milliseconds.
SLACK_US = 2000
# A process ends its span after it has sent the answer: later by as much as a busy machine keeps it waiting.
END_SLACK_US = 500_000
# tritonserver 2.51 loses the traceparent of some gRPC calls, and of none over HTTP (docs/traces.md).
GRPC_TRIES = 12


@dataclass(frozen=True)
class Stack:
    """All parts of a trace, running; `traces` of the gateway's policy sample nothing but what is asked for."""

    zipkin: Zipkin
    home: Home
    token: str
    program: trace.Tracer

    def client(self, protocol: str) -> Client:
        listen = self.home.gateway.listen
        url = f"grpcs://{listen.grpc}" if protocol == "grpc" else f"https://{listen.rest}"
        headers = {"authorization": f"Bearer {self.token}"}
        return Client(url, tls=Tls(ca_file=self.home.ca), headers=headers, shared_memory=False)


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Zipkin, str]]:
    folder = tmp_path_factory.mktemp("backends")
    with zipkin_running(folder) as zipkin, collector_running(folder, zipkin) as collector:
        yield zipkin, collector


@pytest.fixture(scope="module")
def triton(backends: tuple[Zipkin, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    echo = {"config.pbtxt": ECHO_CONFIG.format(name="echo"), "1/model.py": ECHO_CODE}
    repository = write_repository(folder / "repository", {"echo": echo})
    shutil.copytree(ROOT / "model_repository" / "classify_image", repository / "classify_image")
    arguments = (*tracing_arguments(backends[1], "a"), *replicas.restricting_arguments(SECRET))
    with Server(
        repository, http_port=0, grpc_port=0, metrics_port=0, extra_arguments=arguments, log=folder / "log"
    ) as server:
        yield server


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def stack(
    request: pytest.FixtureRequest,
    backends: tuple[Zipkin, str],
    triton: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    zipkin, collector = backends
    tokens = TokenMaker()
    folder = tmp_path_factory.mktemp("gateway")
    certs.make(folder / "build" / "gateway" / "certs")
    private_file(folder / "build" / "gateway" / "secret").write_text(SECRET, encoding="utf-8")
    with ExitStack() as started:
        api = started.enter_context(served(triton, ["--traces", collector])).url.removeprefix("http://")
        table = {"collector": collector, "sample_percent": 0, "asked_per_10s": 1000, "slow_ms": 300}
        metrics = free_addresses(1)[0]
        listen = {"metrics": metrics}
        gateway = policy([(triton.http_url, triton.grpc_url)], services={"api": api}, traces=table, listen=listen)
        home = Home(folder, gateway, tokens)
        write_state(home)
        started.enter_context(gateway_running(home, request.param))
        provider = TracerProvider(resource=Resource({"service.name": "program"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector}/v1/traces")))
        started.callback(provider.shutdown)
        program = provider.get_tracer("program")
        patched = started.enter_context(pytest.MonkeyPatch.context())
        patched.setattr(traces, "TRACER", program)
        yield Stack(zipkin, home, tokens.token("ann", ROLES["operator"]), program)


def write_state(home: Home) -> None:
    """As the gateway's feed would have left it: it knows the keys of an issuer that does not answer now."""
    state = home.tokens.state()
    state["issuers"][home.tokens.issuer]["jwks"] = home.gateway.issuers[0].jwks
    home.state.write_text(json.dumps(state), encoding="utf-8")


@contextmanager
def gateway_running(home: Home, proxy: str) -> Iterator[None]:
    """`ai102 gateway run`, as a person starts it."""
    for name in ("models.toml", "masking.toml"):
        shutil.copy(ROOT / name, home.folder)
    table = home.gateway.model_dump(mode="json", exclude_none=True)
    (home.folder / "gateway.toml").write_text(tomlkit.dumps(table), encoding="utf-8")
    command = [sys.executable, "-m", "ai102", "gateway", "run", "--proxy", proxy]
    log = home.folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=home.folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: b"open: https://" in log.read_bytes() or process.poll() is not None, "an open gateway", 60)
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield
    finally:
        process.terminate()
        process.wait(30)


def trace_id_of(span: trace.Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def assert_times_are_sane(node: Node, since_us: float) -> None:
    """Each span lies within the one above it, and none took longer than the test."""
    assert since_us - SLACK_US <= node.began_us <= node.ended_us <= time.time() * 1e6 + SLACK_US
    for below in node.below:
        assert node.began_us - SLACK_US <= below.began_us, f"{below.tree} begins before {node.tree}"
        assert below.ended_us <= node.ended_us + END_SLACK_US, f"{below.tree} ends after {node.tree}"
        assert_times_are_sane(below, since_us)


def whole_trace(stack: Stack, ask: Callable[[], str], tries: int) -> list[Node]:
    """Of a call that Triton traced: the six spans from the program to the model."""
    for _ in range(tries - 1):
        trace_id = ask()
        if stack.zipkin.has(trace_id, count=6, within_s=4):
            return stack.zipkin.nodes(trace_id, count=6)
    return stack.zipkin.nodes(ask(), count=6)


# Zipkin writes names in small letters.
TRITON = ("triton: inferrequest", [("triton: echo", ["triton: compute"])])


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_call_is_one_tree_from_its_program_to_the_model(protocol: str, stack: Stack) -> None:
    since_us = time.time() * 1e6

    def ask() -> str:
        with stack.client(protocol) as client, stack.program.start_as_current_span("report") as span:
            client.infer("echo", INPUTS)
            return trace_id_of(span)

    (top,) = whole_trace(stack, ask, tries=1 if protocol == "rest" else GRPC_TRIES)
    assert top.tree == ("program: report", [("program: infer echo", [("gateway: infer echo", [TRITON])])])
    assert_times_are_sane(top, since_us)
    (gateway,) = top.below[0].below
    assert (gateway.tags["ai102.protocol"], gateway.tags["ai102.replica"]) == (protocol, "a")


def test_a_call_by_way_of_the_api_has_the_apis_span_in_it(stack: Stack) -> None:
    since_us = time.time() * 1e6
    trace_ids = []

    def ask() -> str:
        with stack.program.start_as_current_span("report") as span:
            classify(stack)
            trace_ids.append(trace_id_of(span))
            return trace_ids[-1]

    (top,) = whole_trace(stack, ask, tries=GRPC_TRIES)  # the API asks Triton over gRPC
    of_triton = ("triton: inferrequest", [("triton: classify_image", ["triton: compute"])])
    of_the_gateway = ("gateway: infer classify_image", [("api: post /v1/classify", [of_triton])])
    assert top.tree == ("program: report", [of_the_gateway])
    assert_times_are_sane(top, since_us)
    if folder := os.environ.get("AI102_PICTURES"):
        draw(stack.zipkin, trace_ids[-1], Path(folder) / "zipkin-trace.png")


def classify(stack: Stack) -> None:
    """One image by way of the API, in the current trace."""
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    headers = {"authorization": f"Bearer {stack.token}"}
    TraceContextTextMapPropagator().inject(headers)
    answer = httpx.post(
        f"https://{stack.home.gateway.listen.rest}/v1/classify",
        files=[("images", ("zero.png", picture.getvalue(), "image/png"))],
        headers=headers,
        verify=ssl.create_default_context(cafile=stack.home.ca),
        trust_env=False,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text


def unsampled(number: int) -> tuple[str, str]:
    """A trace that its program does not record: its id, and its traceparent."""
    trace_id = f"{time.time_ns():016x}{number:016x}"
    return trace_id, f"00-{trace_id}-b7ad6b7169203331-00"


def spans_left_by(stack: Stack, protocol: str, number: int, model: str = "echo", **parameters: Any) -> list[Node]:
    """The spans of an unsampled call by a program without an SDK."""
    trace_id, traceparent = unsampled(number)
    with pytest.MonkeyPatch.context() as patched, stack.client(protocol) as client:
        patched.setattr(traces, "TRACER", trace.NoOpTracer())
        with nullcontext() if model == "echo" else pytest.raises(InferenceError):
            client.infer(model, INPUTS, traceparent=traceparent, parameters=parameters)
    # A sampled call after it: when its spans are there, those of the call before are too.
    with stack.client("rest") as client, stack.program.start_as_current_span("after") as span:
        client.infer("echo", INPUTS)
    stack.zipkin.nodes(trace_id_of(span), count=6)
    return tops_of(stack.zipkin.spans(trace_id))


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_unsampled_call_that_went_well_leaves_nothing(protocol: str, stack: Stack) -> None:
    assert spans_left_by(stack, protocol, 1) == []


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_unsampled_call_that_failed_leaves_the_gateways_span_and_no_more(protocol: str, stack: Stack) -> None:
    (span,) = spans_left_by(stack, protocol, 2, model="not_loaded")
    assert span.tree == "gateway: infer not_loaded"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_unsampled_call_that_was_slow_leaves_the_gateways_span_and_no_more(protocol: str, stack: Stack) -> None:
    (span,) = spans_left_by(stack, protocol, 3, sleep_ms=400)
    assert (span.tree, span.tags["ai102.slow"]) == ("gateway: infer echo", "true")
    assert span.ended_us - span.began_us >= 390_000
