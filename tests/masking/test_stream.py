"""Lines of a log: text as text, JSON as JSON, and one neutral line for what cannot be masked."""

import json

import pytest

from ai102.masking import Masker, Rules
from ai102.masking.rules import Rule
from ai102.masking.stream import masked_line

from .corpus import cases


class Broken(Masker):
    def __init__(self) -> None:
        super().__init__(Rules(rules=(Rule(kind="phone"),)))

    def mask(self, text: str) -> str:
        raise ValueError(text)


JSON = [
    ('{"phone": 13800138000, "n": 7}', '{"phone": "[phone]", "n": 7}'),
    ('{"token":12345,"a":[1,{"password":true}]}', '{"token":"[secret]","a":[1,{"password":"[secret]"}]}'),
    ('{"token_id": {"n": [1, 2]}}', '{"token_id": "[secret]"}'),
    (r'{"m": "\u7535\u8bdd\u0031\u0033800138000"}', r'{"m": "\u7535\u8bdd[phone]"}'),
    ('{"m": "电话13800138000\\n第二行"}', '{"m": "电话[phone]\\n第二行"}'),
    (r'{"中": "\ud83d", "tel": "13800138000"}', r'{"\u4e2d": "\ud83d", "tel": "[phone]"}'),
    ('{"log": "{\\"token\\": 12345}\\n"}', '{"log": "{\\"token\\": [secret]}\\n"}'),
    ('  {"email": "bob@example.com"}  ', '{"email": "[email]"}'),
    ('{"headers": [["authorization", "x"]]}', '{"headers": [["authorization", "[secret]"]]}'),
    ('{"n": 1.10, "big": 123456789012345678901234567890, "x": null}', None),
    ('{ "odd" :  [1.0e5 ,-0.0] }', None),
    ("{}", None),
]


@pytest.mark.parametrize(("line", "masked"), JSON)
def test_a_json_line_stays_json(masker: Masker, line: str, masked: str | None) -> None:
    written = masked_line(masker, f"{line}\r\n".encode())
    assert written.decode() == f"{masked or line}\r\n"
    assert isinstance(json.loads(written), dict)
    assert masked_line(masker, written) == written


def test_every_text_of_the_corpus_is_masked_inside_json_too(masker: Masker) -> None:
    for ensure_ascii in (True, False):
        lines = [json.dumps({"message": case.text, "n": 1}, ensure_ascii=ensure_ascii).encode() for case in cases()]
        messages = [json.loads(masked_line(masker, line))["message"] for line in lines]
        assert messages == [case.masked for case in cases()]


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ('{"tel": "13800138000", "tel": "x"}', '{"tel": "[phone]", "tel": "x"}'),  # a dict would hide the first
        ('{"a": NaN, "tel": "13800138000"}', '{"a": NaN, "tel": "[phone]"}'),
        ('{"cut": "13800138000', '{"cut": "[phone]'),
        ("{'tel': '13800138000'}", "{'tel': '[phone]'}"),
        ("[" * 100_000, "[" * 100_000),
        ('{"a":' * 50_000, '{"a":' * 50_000),
        (f'{{"tel": 13800138000, "n": {"1" * 5000}}}', f'{{"tel": [phone], "n": {"1" * 5000}}}'),
    ],
    ids=["a key twice", "NaN", "cut short", "Python", "deep", "deep objects", "a number of 5,000 digits"],
)
def test_what_is_not_quite_json_is_masked_as_text(masker: Masker, line: str, masked: str) -> None:
    assert masked_line(masker, line.encode()).decode() == masked


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        (b"tel 13800138000\n", b"[masking failed: ValueError]\n"),
        (b'{"tel": "13800138000"}\r\n', b'{"message": "[masking failed: ValueError]"}\r\n'),
        (b"no end", b"[masking failed: ValueError]"),
    ],
)
def test_a_line_that_cannot_be_masked_becomes_a_neutral_one(line: bytes, mark: bytes) -> None:
    assert masked_line(Broken(), line) == mark


def test_json_that_would_be_broken_becomes_a_neutral_object() -> None:
    masker = Masker(Rules(rules=(Rule(kind="phone"),)))
    too_large = b'{"n": 1e400, "tel": "13800138000"}\n'  # Python reads infinity, which JSON cannot say
    assert masked_line(masker, too_large) == b'{"message": "[masking failed: ValueError]"}\n'
