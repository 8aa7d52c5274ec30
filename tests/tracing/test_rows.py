"""Which rows of the access log leave a span, and what the span says."""

import json
import time
from typing import Any

import pytest

from ai102.tracing.rows import Rows, span_from_row
from ai102.tracing.spans import Span

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
HAPROXY = {
    "time": "2026-11-28T12:00:00Z", "id": "q-1", "protocol": "grpc", "address": "10.0.0.7", "subject": "ann",
    "verb": "infer", "model": "digits", "version": "", "method": "POST", "status": 200, "grpc_status": 0, "refused": "",
    "bytes_in": 500, "bytes_out": 300,
    "milliseconds": {"receive": 0, "gateway": 0, "connect": 0, "answer": 3, "all": 4},
    "backend": "triton_grpc", "replica": "a", "retries": "0", "end": "----",
    "trace_id": TRACE, "span_id": SPAN, "parent_id": PARENT, "sampled": False,
    "began_us": 1_795_891_471_408_431, "ended_us": 1_795_891_471_412_431,
}  # fmt: skip
NGINX = {key: value for key, value in HAPROXY.items() if key not in ("backend", "retries", "end")} | {
    "milliseconds": {"answer": 3, "all": 4}
}
STRANGER = {"subject": "", "verb": "", "model": ""}
MS = HAPROXY["milliseconds"]

# What differs from a good call, and whether it leaves a span, and the error that the span has.
TABLE: list[tuple[dict[str, Any], bool, str]] = [
    ({}, False, ""),
    ({"sampled": True}, True, ""),
    ({"milliseconds": {"answer": None, "all": 500}}, True, ""),
    ({"milliseconds": {"answer": 499, "all": 499}}, False, ""),
    ({"milliseconds": {"answer": None, "all": None}}, False, ""),
    ({"status": 503, "grpc_status": None}, True, "HTTP 503"),
    ({"status": 504, "grpc_status": None, "refused": "answer timeout"}, True, "answer timeout"),
    ({"grpc_status": 14}, True, "gRPC status 14"),
    ({"grpc_status": 13, "subject": ""}, True, "gRPC status 13"),
    ({"grpc_status": 3}, True, ""),
    ({"status": 400, "grpc_status": None}, True, ""),
    ({"status": 403, "grpc_status": None, "refused": "no grant"}, True, ""),
    ({"status": 499, "grpc_status": None, "refused": "the caller left"}, True, "the caller left"),
    ({"status": -1, "grpc_status": None}, True, "ended unfinished"),
    ({"status": 429, "grpc_status": None, "refused": "too many requests"}, False, ""),
    ({"grpc_status": 8, "refused": "too many requests"}, False, ""),
    ({**STRANGER, "status": 401, "grpc_status": None, "refused": "no bearer token"}, False, ""),
    ({**STRANGER, "grpc_status": 16, "refused": "no bearer token"}, False, ""),
    ({**STRANGER, "status": 404, "grpc_status": None}, False, ""),
    ({**STRANGER, "status": 408, "grpc_status": None}, False, ""),
    ({**STRANGER, "status": 503, "grpc_status": None, "refused": "no state"}, True, "no state"),
    ({"status": 400, "began_us": 0}, False, ""),
]


def spans_of(row: dict[str, Any], slow_ms: int = 500) -> list[Span]:
    spans: list[Span] = []
    rows = Rows(spans.append, slow_ms)
    rows.take(json.dumps(row, separators=(",", ":")).encode())
    assert rows.unreadable == 0
    return spans


@pytest.mark.parametrize("form", [HAPROXY, NGINX], ids=["haproxy", "nginx"])
@pytest.mark.parametrize(("differs", "leaves_one", "error"), TABLE)
def test_calls_that_are_sampled_fail_or_are_slow_leave_a_span(
    differs: dict[str, Any], leaves_one: bool, error: str, form: dict[str, Any]
) -> None:
    spans = spans_of(form | differs)
    assert [span.error for span in spans] == ([error] if leaves_one else [])


@pytest.mark.parametrize(("end", "error"), [("SD--", "ended unfinished"), ("CD--", "ended unfinished"), ("LR--", "")])
def test_an_answer_that_haproxy_could_not_finish_leaves_a_span(end: str, error: str) -> None:
    assert [span.error for span in spans_of(HAPROXY | {"end": end})] == ([error] if error else [])


# What differs from a good call that follows a job, and the error that its span has; None: it leaves none.
FOLLOWING: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"milliseconds": {"answer": 1, "all": 600_000}}, None),
    ({"milliseconds": {"answer": 1, "all": 600_000}, "end": "CD--"}, None),
    ({"milliseconds": {"answer": None, "all": 9_000}, "status": -1, "end": "CH--"}, None),
    ({"status": 504, "end": "sH--"}, "HTTP 504"),
    ({"end": "SD--"}, "ended unfinished"),
    ({"status": 404}, ""),
]


@pytest.mark.parametrize(("differs", "error"), FOLLOWING)
def test_who_follows_a_job_may_wait_and_leave_without_a_span(differs: dict[str, Any], error: str | None) -> None:
    row = HAPROXY | {"protocol": "rest", "verb": "own", "model": "", "grpc_status": None} | differs
    assert [span.error for span in spans_of(row)] == ([] if error is None else [error])


def test_nginx_writes_499_for_who_left_a_job() -> None:
    left = {"protocol": "rest", "verb": "own", "model": "", "grpc_status": None, "status": 499,
            "refused": "the caller left", "milliseconds": {"answer": None, "all": 9_000}}  # fmt: skip
    assert spans_of(NGINX | left) == []


def test_the_span_has_the_ids_and_the_times_of_the_row_and_says_what_was_asked_but_not_by_whom() -> None:
    (span,) = spans_of(HAPROXY | {"sampled": True})
    assert span == Span(
        trace_id=TRACE,
        span_id=SPAN,
        parent_id=PARENT,
        name="infer digits",
        began_ns=1_795_891_471_408_431_000,
        ended_ns=1_795_891_471_412_431_000,
        attributes={
            "ai102.request_id": "q-1",
            "ai102.protocol": "grpc",
            "ai102.model": "digits",
            "ai102.replica": "a",
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "rpc.grpc.status_code": 0,
            "ai102.bytes_in": 500,
            "ai102.bytes_out": 300,
            "ai102.retries": "0",
            "ai102.milliseconds.receive": 0,
            "ai102.milliseconds.gateway": 0,
            "ai102.milliseconds.connect": 0,
            "ai102.milliseconds.answer": 3,
            "ai102.milliseconds.all": 4,
        },
    )


def test_a_failure_before_there_was_a_trace_gets_one() -> None:
    (span,) = spans_of(HAPROXY | {"status": 500, "trace_id": "", "span_id": "", "parent_id": ""})
    assert (len(span.trace_id), len(span.span_id), span.parent_id) == (32, 16, "")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[WARNING] a line of HAProxy itself",
        b'{"time":"2026-11-28T12:00:00Z","protocol":"rest","status":0,"refused":"no request","end":"PR--"}',
    ],
)
def test_what_is_no_request_leaves_nothing(line: bytes) -> None:
    spans: list[Span] = []
    rows = Rows(spans.append, 500)
    rows.take(line)
    assert (spans, rows.unreadable) == ([], 0)


@pytest.mark.parametrize(
    "line",
    [b'"sampled":true', b'{"sampled":true}', b'{"sampled":true,"status":"x","milliseconds":7}', b'["sampled":true]'],
)
def test_what_cannot_be_read_is_counted_and_the_rows_after_it_are_read(line: bytes) -> None:
    spans: list[Span] = []
    rows = Rows(spans.append, 500)
    rows.take(line + b"\n" + json.dumps(HAPROXY | {"status": 500}, separators=(",", ":")).encode())
    assert (len(spans), rows.unreadable) == (1, 1)


def test_a_caller_cannot_write_that_a_call_is_sampled() -> None:
    assert spans_of(HAPROXY | {"subject": 'x","sampled":true,"y":"', "model": '"status":500,"grpc_status":13'}) == []


def test_a_good_row_costs_a_fraction_of_what_it_costs_to_parse_one() -> None:
    line = json.dumps(HAPROXY, separators=(",", ":")).encode()
    rows = Rows(lambda span: None, 500)
    lines = b"\n".join([line] * 1000)
    assert _least_s(lambda: rows.take(lines)) < _least_s(lambda: [json.loads(line) for _ in range(1000)])


def _least_s(work: Any) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_row_that_is_none_raises() -> None:
    with pytest.raises(KeyError):
        span_from_row({}, 500)
