"""A caller's traceparent at the gateway: the trace goes on, or the header counts for nothing."""

from typing import Any

import pytest

from ai102.tracing.context import context_from
from tests.gateway.judge_core import core, in_both_luas

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"

# What is sent, and whether it is sampled; None where it names no trace.
TABLE: list[tuple[Any, bool | None]] = [
    (GOOD, True),
    (f"00-{TRACE}-{SPAN}-00", False),
    (f"00-{TRACE}-{SPAN}-03", True),
    (f"00-{TRACE}-{SPAN}-fe", False),
    (f"cc-{TRACE}-{SPAN}-01", True),
    (f"cc-{TRACE}-{SPAN}-01-more", True),
    (f"cc-{TRACE}-{SPAN}-01more", None),
    (f"ff-{TRACE}-{SPAN}-01", None),
    (GOOD + "-more", None),
    (GOOD + "0", None),
    (GOOD + " ", None),
    (" " + GOOD, None),
    (f"{GOOD}, {GOOD}", None),
    (GOOD.upper(), None),
    (GOOD[:-1], None),
    (f"00-{'0' * 32}-{SPAN}-01", None),
    (f"00-{TRACE}-{'0' * 16}-01", None),
    (f"00-{TRACE[:-1]}-{SPAN}0-01", None),
    (f"00-{TRACE}-{SPAN}-0g", None),
    (f"0x-{TRACE}-{SPAN}-01", None),
    (f"00_{TRACE}_{SPAN}_01", None),
    ("", None),
    ("-" * 55, None),
    ("%" * 55, None),
    (b"\0" * 55, None),
    (f"00-{TRACE}-{SPAN}-01\r\nx-user: root", None),
    (None, None),
    (55, None),
]


@in_both_luas
@pytest.mark.parametrize(("sent", "is_sampled"), TABLE)
def test_a_traceparent_names_a_trace_or_counts_for_nothing(sent: Any, is_sampled: bool | None, lua: str) -> None:
    context = core(lua).ask("trace_context", sent)
    wanted = None if is_sampled is None else {"trace_id": TRACE, "span_id": SPAN, "is_sampled": is_sampled}
    assert context == wanted


@pytest.mark.parametrize(("sent", "is_sampled"), [row for row in TABLE if isinstance(row[0], str)])
def test_the_api_reads_it_as_the_gateway_does(sent: str, is_sampled: bool | None) -> None:
    context = context_from(sent)
    assert (context and context.is_sampled) == is_sampled


@in_both_luas
def test_two_of_them_name_none_and_refuse_nothing(lua: str) -> None:
    assert core(lua).ask("header_problem", {"host": "h", "traceparent": [GOOD, GOOD]}, "triton") is None
    assert core(lua).ask("traceparent_in", {"traceparent": [GOOD, GOOD]}) == ""
    assert core(lua).ask("traceparent_in", {"Traceparent": GOOD}) == GOOD


@in_both_luas
@pytest.mark.parametrize("part", ["0", "-", "00-", f"{GOOD},", "f" * 32])
def test_a_long_one_costs_no_more_than_a_short_one(part: str, lua: str) -> None:
    assert core(lua).ask("cost", 0.1, "trace_context", part * (65536 // len(part)))["ms"] <= 0.1
