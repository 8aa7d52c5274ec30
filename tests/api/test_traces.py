"""The API's part of a trace: a sampled one goes on to Triton with a span of the API's own."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from ai102.tracing.counted import SpanCounts
from ai102.tracing.exporter import Counts
from ai102.tracing.spans import Span
from tests.api.stand_in import api

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CALLER}-01"


def passed_on(*sent: str, spans: list[Span] | None = None, body: object = None) -> tuple[str, dict[str, object]]:
    """The traceparent that Triton got of a request with these, and the request's line in the log."""

    async def case() -> tuple[str, dict[str, object]]:
        async with api(add_span=None if spans is None else spans.append) as service:
            headers = [(b"traceparent", value.encode()) for value in sent]
            await service.http.post("/v1/embed", json=body or {"text": "a"}, headers=headers)
            got = service.triton.metadata[0].get("traceparent", "") if service.triton.metadata else ""
            return str(got), service.lines()[0]

    return asyncio.run(case())


@pytest.mark.parametrize(
    ("sent", "is_passed"),
    [
        ([SAMPLED], True),
        ([SAMPLED[:-2] + "00"], False),
        ([SAMPLED, SAMPLED], False),
        ([SAMPLED + "0"], False),
        (["ff" + SAMPLED[2:]], False),
        (["x"], False),
        ([], False),
    ],
)
def test_only_a_sampled_trace_goes_to_triton_since_it_traces_every_one(sent: list[str], is_passed: bool) -> None:
    got, _ = passed_on(*sent)
    assert got == (SAMPLED if is_passed else "")


def test_with_a_collector_the_apis_span_stands_between_caller_and_triton() -> None:
    spans: list[Span] = []
    got, line = passed_on(SAMPLED, spans=spans)
    (span,) = spans
    assert got == f"00-{TRACE}-{span.span_id}-01"
    assert (span.trace_id, span.parent_id, span.name, span.error) == (TRACE, CALLER, "POST /v1/embed", "")
    assert (span.attributes["ai102.request_id"], line["trace_id"]) == (line["request_id"], TRACE)
    assert 0 < span.ended_ns - span.began_ns < 10e9


@pytest.mark.parametrize("sent", [[], [SAMPLED[:-2] + "00"]])
def test_what_is_not_sampled_leaves_no_span(sent: list[str]) -> None:
    spans: list[Span] = []
    passed_on(*sent, spans=spans)
    assert spans == []


def test_a_request_that_is_refused_leaves_its_span_too() -> None:
    spans: list[Span] = []
    passed_on(SAMPLED, spans=spans, body={"nonsense": 1})
    assert [span.attributes["http.response.status_code"] for span in spans] == [422]


def test_prometheus_is_told_what_became_of_the_apis_spans() -> None:
    async def metrics() -> str:
        registry = CollectorRegistry()
        registry.register(SpanCounts(lambda: Counts(sent=3, dropped=2)))
        async with api(registry=registry) as service:
            return (await service.http.get("/metrics")).text

    lines = asyncio.run(metrics()).splitlines()
    assert {'ai102_spans_total{outcome="sent"} 3.0', 'ai102_spans_total{outcome="dropped"} 2.0'} <= set(lines)
