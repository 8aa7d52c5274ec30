"""The work grows as the text does, whatever somebody writes into it."""

import time

import pytest

from ai102.masking import Masker

SMALL, LARGE = 1 << 16, 1 << 19
HOSTILE = {
    "digits": "1",
    "digits and spaces": "62 ",
    "groups of four": "6222 ",
    "card groups, all of digit 4": "4444 4444 4444 4444 ",
    "phone prefixes": "+86 ",
    "local part": "a",
    "local part with dots": "a.",
    "mail without end": "a@a.",
    "at signs": "a@",
    "labels": "a@" + "b." * 20,
    "colons": ":",
    "hex groups": "1:",
    "pairs of colons": "2001:db8::",
    "dots": "1.",
    "addresses": "1.1.1.",
    "keys": "password",
    "keys and signs": "password=",
    "keys and quotes": 'password="',
    "escaped quotes": 'password=\\"\\',
    "backslashes": "password='\\",
    "commas": "password=a,",
    "commas and keys": "password=a" + ",aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 8,
    "spaces after a key": "token" + " " * 100,
    "authorization": "authorization: a",
    "authorization and spaces": "authorization: " + " " * 50,
    "tokens": "eyjaaaaaa.",
    "token without end": "eyj",
    "bearer": "bearer ",
    "addresses with users": "://a:",
    "invisible": "1\u200b",
    "full width": "１",  # noqa: RUF001
    "Chinese": "密码",
    "phones side by side": "13800138000-",
    "marks": "[phone]",
    "names": "Alice ",
}


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE.keys())
def test_eight_times_the_text_is_not_much_more_than_eight_times_the_work(masker: Masker, piece: str) -> None:
    ratio = _seconds(masker, piece, LARGE, rounds=1) / max(_seconds(masker, piece, SMALL, rounds=2), 1e-4)
    assert ratio < 28  # quadratic work would be 64 times as much


def _seconds(masker: Masker, piece: str, size: int, rounds: int) -> float:
    text = f"a@b.com token=1 eyj {piece * (size // len(piece))}"
    took = []
    for _ in range(rounds):
        began = time.process_time()
        masker.mask(text)
        took.append(time.process_time() - began)
    return min(took)
