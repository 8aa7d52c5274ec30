"""Spans reach a collector, and whoever has them never waits for it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.masking import Masker
from ai102.masking.logs import masked
from ai102.tracing.exporter import BATCH_SPANS, Counts, Exporter
from ai102.tracing.spans import Kind, Span
from tests.tracing.taking import Collector

ROOT = Path(__file__).parent.parent.parent
RESOURCE = {"service.name": "gateway"}


def span(number: int = 1, error: str = "") -> Span:
    attributes = {"model": "digits", "status": 200, "share": 0.5, "slow": True}
    return Span("a" * 32, f"{number:016x}", "", "infer digits", 1_000, 2_500, Kind.SERVER, attributes, error)


def exporter_to(url: str, say: Callable[[str], None] = print) -> Exporter:
    return Exporter(url, RESOURCE, say, queue_spans=100, gather_s=0.02)


def wait_until(holds: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


def test_a_span_arrives_as_the_protocol_writes_it() -> None:
    with Collector().running() as collector, exporter_to(collector.url + "/") as exporter:
        exporter.add(span(error="it broke"))
        wait_until(lambda: len(collector.requests) == 1, "a request")
    (of,) = collector.requests[0]["resourceSpans"]
    assert of["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}]}
    assert of["scopeSpans"][0]["spans"] == [
        {
            "traceId": "a" * 32,
            "spanId": "0000000000000001",
            "parentSpanId": "",
            "name": "infer digits",
            "kind": 2,
            "startTimeUnixNano": "1000",
            "endTimeUnixNano": "2500",
            "attributes": [
                {"key": "model", "value": {"stringValue": "digits"}},
                {"key": "status", "value": {"intValue": "200"}},
                {"key": "share", "value": {"doubleValue": 0.5}},
                {"key": "slow", "value": {"boolValue": True}},
            ],
            "status": {"code": 2, "message": "it broke"},
        }
    ]


def test_what_logs_must_not_hold_no_span_holds() -> None:
    masker = Masker.beside(ROOT)
    phone = "13800138000"
    asked = Span("a" * 32, "b" * 16, "", f"infer {phone}", 1, 2, attributes={"id": phone, "n": 1}, error=f"no {phone}")
    with (
        Collector().running() as collector,
        Exporter(collector.url, RESOURCE, print, mask=lambda text: masked(masker, text), gather_s=0.02) as exporter,
    ):
        exporter.add(asked)
        wait_until(lambda: len(collector.spans) == 1, "the span")
    (span,) = collector.spans
    assert (span["name"], span["status"]["message"]) == ("infer [phone]", "no [phone]")
    assert span["attributes"] == {"id": "[phone]", "n": "1"}
    assert (span["traceId"], span["spanId"]) == ("a" * 32, "b" * 16)


def test_spans_that_come_together_go_together() -> None:
    with Collector().running() as collector, exporter_to(collector.url) as exporter:
        for number in range(100):
            exporter.add(span(number))
        wait_until(lambda: len(collector.spans) == 100, "all spans")
    assert len(collector.requests) <= 2


def test_a_collector_that_does_not_answer_holds_nobody_up_and_what_is_lost_is_counted() -> None:
    said: list[str] = []
    with Collector().running() as collector:
        collector.is_open.clear()
        with exporter_to(collector.url, said.append) as exporter:
            began = time.monotonic()
            for number in range(10_000):
                exporter.add(span(number))
            assert time.monotonic() - began < 1
            assert exporter.counts.dropped >= 10_000 - 2 * BATCH_SPANS
            collector.is_open.set()
            wait_until(lambda: sum(counts_of(exporter)) == 10_000, "every span sent or counted as dropped")
            wait_until(lambda: len(said) == 1, "one line that says it")
    assert said[0].endswith("more came than the collector takes; calls are not affected")


def counts_of(exporter: Exporter) -> tuple[int, int]:
    return exporter.counts.sent, exporter.counts.dropped


def test_a_collector_that_is_busy_is_asked_again() -> None:
    with Collector([503, 429]).running() as collector, exporter_to(collector.url) as exporter:
        exporter.add(span())
        wait_until(lambda: exporter.counts == Counts(1, 0), "the span sent")


@pytest.mark.parametrize("status", [400, 404])
def test_what_the_collector_refuses_is_dropped_and_said(status: int) -> None:
    said: list[str] = []
    with Collector([status]).running() as collector, exporter_to(collector.url, said.append) as exporter:
        exporter.add(span())
        wait_until(lambda: len(said) == 1, "a line")
    words = f"traces: 1 spans were dropped: {collector.url}/v1/traces: HTTP {status}; calls are not affected"
    assert (said, exporter.counts) == ([words], Counts(0, 1))


def test_a_close_sends_what_is_waiting_and_does_not_wait_for_a_collector_that_is_gone() -> None:
    with Collector().running() as collector:
        exporter = exporter_to(collector.url)
        exporter.add(span())
        exporter.close()
        assert len(collector.spans) == 1
    exporter = exporter_to("http://127.0.0.1:9")
    exporter.add(span())
    began = time.monotonic()
    exporter.close()
    assert time.monotonic() - began < 1.5
