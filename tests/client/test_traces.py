"""A client's calls as part of its program's traces, where opentelemetry-api is installed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ai102.client import AsyncClient, BadAnswerError, BusyError, Client, InferenceError, traces
from ai102.client.exchange import Retry
from tests.gateway.recorders import GrpcRecorder, Recorder

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"
INPUTS = {"IN": np.zeros((1, 4), np.uint8)}  # one row: with more, the client asks first how many the model takes


@pytest.fixture
def replica() -> Iterator[tuple[GrpcRecorder, str]]:
    recorder = GrpcRecorder()
    with recorder.running() as address:
        yield recorder, f"grpc://{address}"


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> trace.Tracer:
    """An SDK's, which the client has while the test runs; a program would configure it for all of itself."""
    provider = TracerProvider()
    finished = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(finished))
    tracer = provider.get_tracer("the program")
    monkeypatch.setattr(traces, "TRACER", tracer)
    monkeypatch.setattr(tracer, "finished", finished, raising=False)
    return tracer


def spans_of(tracer: Any) -> list[ReadableSpan]:
    return list(tracer.finished.get_finished_spans())


def sent_to(replica: GrpcRecorder) -> list[dict[str, str]]:
    return [{key: value for key, value in one if key.startswith("trace")} for one in replica.metadata]


def hex_of(span: Any) -> tuple[str, str]:
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def ids_in(traceparent: str) -> tuple[str, str]:
    """Of a sampled trace."""
    assert int(traceparent[-2:], 16) & 1
    return traceparent.split("-")[1], traceparent.split("-")[2]


def test_without_an_sdk_and_a_trace_nothing_is_sent(replica: tuple[GrpcRecorder, str]) -> None:
    with Client(replica[1], shared_memory=False) as client:
        client.infer("echo", INPUTS)
    assert sent_to(replica[0]) == [{}]


@pytest.mark.parametrize("flags", ["00", "01"])
def test_without_an_sdk_a_given_trace_goes_on_as_it_is(flags: str, replica: tuple[GrpcRecorder, str]) -> None:
    given = GIVEN[:-2] + flags
    with Client(replica[1], shared_memory=False) as client:
        client.infer("echo", INPUTS, traceparent=given)
        client.infer("echo", INPUTS, headers={"Traceparent": given, "tracestate": "a=b"})
    assert sent_to(replica[0]) == [{"traceparent": given}, {"traceparent": given, "tracestate": "a=b"}]


def test_a_call_continues_the_current_trace_and_the_server_gets_the_calls_span(
    tracer: trace.Tracer, replica: tuple[GrpcRecorder, str]
) -> None:
    with Client(replica[1], shared_memory=False) as client, tracer.start_as_current_span("program") as program:
        client.infer("echo", INPUTS)
    call, _ = spans_of(tracer)
    assert call.parent == program.get_span_context()
    assert (call.name, call.kind, call.status.status_code) == (
        "infer echo",
        trace.SpanKind.CLIENT,
        trace.StatusCode.UNSET,
    )
    address = replica[1].removeprefix("grpc://")
    assert call.attributes == {"ai102.model": "echo", "server.address": address, "ai102.tries": 1}
    assert [ids_in(one["traceparent"]) for one in sent_to(replica[0])] == [hex_of(call)]


@pytest.mark.parametrize("where", ["argument", "header"])
def test_a_given_trace_is_the_parent_and_not_what_the_server_gets(
    where: str, tracer: trace.Tracer, replica: tuple[GrpcRecorder, str]
) -> None:
    given: Any = {"traceparent": GIVEN} if where == "argument" else {"headers": {"TraceParent": GIVEN}}
    with Client(replica[1], shared_memory=False) as client, tracer.start_as_current_span("program"):
        client.infer("echo", INPUTS, **given)
    call, _ = spans_of(tracer)
    assert call.parent is not None
    assert (f"{call.parent.trace_id:032x}", f"{call.parent.span_id:016x}") == (TRACE, PARENT)
    assert sent_to(replica[0]) == [{"traceparent": f"00-{TRACE}-{hex_of(call)[1]}-01"}]


def test_every_try_of_a_call_is_below_one_span(tracer: trace.Tracer, replica: tuple[GrpcRecorder, str]) -> None:
    replica[0].status = grpc.StatusCode.UNAVAILABLE
    with (
        Client(replica[1], shared_memory=False, retry=Retry(tries=3, pause_s=0.001)) as client,
        pytest.raises(BusyError) as raised,
    ):
        client.infer("echo", INPUTS)
    (call,) = spans_of(tracer)
    assert call.attributes is not None
    assert (call.attributes["ai102.tries"], call.attributes["error.type"]) == (3, "BusyError")
    assert (call.status.status_code, call.status.description) == (trace.StatusCode.ERROR, str(raised.value))
    assert len({one["traceparent"] for one in sent_to(replica[0])}) == 1
    assert len(sent_to(replica[0])) == 3


def test_a_call_over_http_is_a_span_too(tracer: trace.Tracer) -> None:
    with (
        Recorder().running() as server,
        Client(f"http://{server.address}", shared_memory=False) as client,
        pytest.raises(BadAnswerError),
    ):
        client.infer("echo", INPUTS)
    (call,) = spans_of(tracer)
    assert ids_in(server.headers["/v2/models/echo/infer"]["traceparent"]) == hex_of(call)


def test_tasks_of_one_client_have_a_span_each(tracer: trace.Tracer, replica: tuple[GrpcRecorder, str]) -> None:
    async def one(client: AsyncClient, number: int) -> str:
        with tracer.start_as_current_span(f"program {number}") as program:
            await client.infer("echo", INPUTS)
            return hex_of(program)[1]

    async def case() -> list[str]:
        async with AsyncClient(replica[1], shared_memory=False) as client:
            return await asyncio.gather(*(one(client, number) for number in range(5)))

    parents = asyncio.run(case())
    calls = [span for span in spans_of(tracer) if span.name == "infer echo"]
    assert {f"{call.parent.span_id:016x}" for call in calls if call.parent} == set(parents)
    assert {one["traceparent"].split("-")[2] for one in sent_to(replica[0])} == {hex_of(call)[1] for call in calls}


def test_a_cancelled_call_ends_its_span(tracer: trace.Tracer, replica: tuple[GrpcRecorder, str]) -> None:
    replica[0].is_slow = True

    async def case() -> None:
        async with AsyncClient(replica[1], shared_memory=False) as client:
            async with asyncio.timeout(0.2):
                await client.infer("echo", INPUTS)

    with pytest.raises(TimeoutError):
        asyncio.run(case())
    assert [span.name for span in spans_of(tracer)] == ["infer echo"]


def test_without_opentelemetry_a_client_works_as_before(replica: tuple[GrpcRecorder, str]) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import numpy as np\nfrom ai102.client import Client, traces\nassert not traces.IS_INSTALLED\n"
        f"with Client({replica[1]!r}, shared_memory=False) as client:\n"
        f"    client.infer('echo', {{'IN': np.zeros(4, np.uint8)}}, traceparent={GIVEN!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sent_to(replica[0]) == [{"traceparent": GIVEN}]


def test_a_question_about_models_is_a_span_too(tracer: trace.Tracer, replica: tuple[GrpcRecorder, str]) -> None:
    with Client(replica[1], shared_memory=False) as client, pytest.raises(InferenceError):
        client.models()
    assert [(span.name, span.status.status_code) for span in spans_of(tracer)] == [("index", trace.StatusCode.ERROR)]
