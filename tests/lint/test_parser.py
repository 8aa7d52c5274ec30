"""The parser against protobuf's own, and the places that it tells."""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.pbtxt import parse

ROOT = Path(__file__).parents[2]
TEXTS = [
    (ROOT / "model_repository" / name / "config.pbtxt").read_text(encoding="utf-8")
    for name in ("classify_image", "digits_int8", "minilm_tokenize")
] + [
    """name: 'a' "b"  # a comment
max_batch_size: 0x10
input [ { name: "x", data_type: TYPE_FP32; dims: [ -1, 3 ] reshape < shape: 3 shape: -1 > }, { name: "\\171\\x79\\n" } ]
version_policy: { specific { versions: [ 1, 2 ] } };
sequence_batching { direct { minimum_slot_utilization: 5e-1 } control_input { name: "S" control [ ] } }
parameters { key: "k" value { string_value: "" } } response_cache { enable: t }
instance_group { kind: 2 count: 010 gpus: [] }
"""
]
PIECES = [
    "{", "}", "[", "]", "<", ">", ":", ",", ";", "-", "+", "#", '"', "'", "\\", "\n", " ", "/", ".", "0", "08", "0x",
    "1e3", "1.5f", "true", "inf", "name", "dims", "input", "TYPE_FP32", "key", "value", '"x"', "'y'", "\\x",
    "max_batch_size: 0", "dynamic_batching { }", "unknown: 1", "zero_data: true", "dims: [ 1, 2 ]",
]  # fmt: skip


def mutated() -> Iterator[str]:
    """Valid configs with a few pieces put in, taken out or doubled; the same ones each time."""
    random = Random(102)
    for _ in range(1000):
        text = random.choice(TEXTS)
        for _ in range(random.choice((1, 1, 2, 3))):
            place = random.randrange(len(text))
            end = place + random.choice((0, 0, 1, 3, 20))
            text = text[:place] + random.choice((random.choice(PIECES), "", text[place:end])) + text[end:]
        yield text


def config_of_protobuf(text: str) -> pb.ModelConfig | None:
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError:
        return None


# Where Python's reader differs from the server's, which is in C++ and decides: it takes any escape in a string, no
# blank between a minus and its number, and no plus.
KNOWN_TO_DIFFER = re.compile(r"\\[^abfnrtvxXuU0-7'\"?\\]|-\s+[0-9.a-z]|\+\s*[0-9.]")


def test_the_parser_takes_what_protobuf_takes_and_reads_the_same() -> None:
    differing = [
        text
        for text in mutated()
        if str(parse(text).config) != str(config_of_protobuf(text)) and not KNOWN_TO_DIFFER.search(text)
    ]
    assert differing == []


@pytest.mark.parametrize("text", TEXTS)
def test_a_valid_config_has_no_problem(text: str) -> None:
    parsed = parse(text)
    assert (parsed.problems, parsed.config) == ((), config_of_protobuf(text))


PLACES = {
    "a brace too many": ('name: "m"\n}\n', "MR001", 2, 1),
    "a brace too few": ('name: "m"\ninput {\n  name: "x"\n', "MR001", 2, 7),
    "no colon": ("max_batch_size 8", "MR001", 1, 16),
    "an open string": ('name: "m\nbackend: "x"', "MR001", 1, 7),
    "an unknown field": ('name: "m"\n  max_batchsize: 8', "MR002", 2, 3),
    "an unknown field inside": ("dynamic_batching {\n  delay: 1\n}", "MR002", 2, 3),
    "a number in quotes": ('max_batch_size: "8"', "MR003", 1, 17),
    "an enum without its prefix": ("input { data_type: FP32 }", "MR004", 1, 20),
    "a number too large": ("max_batch_size: 4294967296", "MR005", 1, 17),
    "a second value": ("max_batch_size: 8\nmax_batch_size: 9", "MR006", 2, 1),
    "two schedulers": ("dynamic_batching { }\nsequence_batching { }", "MR007", 2, 1),
}


@pytest.mark.parametrize(("text", "code", "line", "column"), PLACES.values(), ids=PLACES)
def test_a_problem_is_told_at_its_place(text: str, code: str, line: int, column: int) -> None:
    assert [(p.code, p.at.line, p.at.column) for p in parse(text).problems] == [(code, line, column)]


NEAREST = {
    "max_batchsize: 8": "write max_batch_size",
    "dynamic_batch { }": "write dynamic_batching",
    "input { datatype: TYPE_FP32 }": "write data_type",
    "input { data_type: TYPE_FLOAT32 }": "write TYPE_FP32",
    "input { data_type: FP32 }": "write TYPE_FP32",
    "input { data_type: type_int64 }": "write TYPE_INT64",
    "output { data_type: BYTES }": "write TYPE_STRING",
    "instance_group { kind: GPU }": "write KIND_GPU",
    "name: digits": 'write "digits"',
    "response_cache { enable: TRUE }": "write true",
    "max_batch_size: '8'": "write 8",
}


@pytest.mark.parametrize(("text", "advice"), NEAREST.items())
def test_a_slip_is_told_with_what_was_meant(text: str, advice: str) -> None:
    (problem,) = parse(text).problems
    assert (problem.advice, problem.fix is not None) == (advice, True)


@pytest.mark.parametrize(("text", "advice"), {"shape: 1": None, "input { data_type: TYPE_FLT }": "write TYPE_"}.items())
def test_what_may_have_been_meant_otherwise_is_not_repaired(text: str, advice: str | None) -> None:
    (problem,) = parse(text).problems
    assert problem.fix is None
    assert advice is None or problem.advice.startswith(advice)
