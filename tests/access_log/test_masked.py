"""Rows of the access log through the masker: what callers wrote is masked, the ids and times of a call stay."""

from pathlib import Path

import pytest

from ai102.access_log.masked import masked_rows
from ai102.masking import Masker

ROOT = Path(__file__).parents[2]
PHONE = "13800138000"
MASK = Masker.beside(ROOT).mask
TIMES = f'"sampled":false,"began_us":{PHONE},"ended_us":{PHONE}}}'
TAIL = f',"trace_id":"{"0" * 21}{PHONE}","span_id":"","parent_id":"{PHONE}fffff",{TIMES}'


def row(caller: str, tail: str = TAIL) -> str:
    return f'{{"id":"{caller}","end":"--"{tail}\n'


def test_what_a_caller_wrote_is_masked_and_ids_and_times_are_not() -> None:
    assert PHONE in TAIL
    assert masked_rows(row(PHONE) + row("plain"), MASK) == row(MASK(PHONE)) + row("plain")


@pytest.mark.parametrize(
    "line",
    [
        f"a line of the proxy about {PHONE}\n",
        row(f'x\\"{TAIL.replace(chr(34), chr(92) + chr(34))} of {PHONE}', tail="}"),
        row("x", tail=f',"trace_id":"{PHONE} ","span_id":"","parent_id":"",{TIMES}'),
        row("x", tail=f',"trace_id":"","span_id":"","parent_id":"",{TIMES} {PHONE}'),
    ],
    ids=["no row", "in a value", "no id", "no end"],
)
def test_an_end_that_no_proxy_wrote_is_masked(line: str) -> None:
    assert masked_rows(line, MASK) == MASK(line) != line


def test_something_to_mask_that_spans_lines_is_masked() -> None:
    lines = f"one {PHONE}\ntwo\n"
    assert masked_rows(lines, lambda text: text.replace("one", "").replace("\n", "", 1)) == f" {PHONE}two\n"
