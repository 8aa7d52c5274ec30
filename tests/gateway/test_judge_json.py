"""JSON bodies at the gateway: what ends Triton's process stays out, what clients send passes."""

import json
import random
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton_http

from ai102.client.calls import Infer
from ai102.client.http.messages import http_request
from ai102.client.tensors import Raw
from tests.gateway.judge_core import core, in_both_luas

LIMITS = {"max_json_bytes": 65536, "max_elements": 1000, "classes": {"o": True}}
MALFORMED, LARGE = "malformed", "too_large"
CLASSES = {"name": "o", "parameters": {"classification": 1}}
CLASSES_OF_STRING = CLASSES | {"name": "s"}


def body(top: Any = None, output: Any = None, **changes: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | changes
    tensor = {key: value for key, value in tensor.items() if value is not ...}
    request = {"inputs": [tensor]} | (top or {}) | ({"outputs": [output]} if output else {})
    return json.dumps(request).encode()


def binary(size: Any, **changes: Any) -> bytes:
    return body(data=..., parameters={"binary_data_size": size}, **changes)


def shape(text: str) -> bytes:
    return body(shape="SHAPE").replace(b'"SHAPE"', text.encode())


def escaped(word: str, text: bytes) -> bytes:
    return text.replace(word.encode(), f"\\u{ord(word[0]):04x}{word[1:]}".encode())


INFER: list[tuple[str, bytes, str | None]] = [
    ("plain", body(), None),
    ("data nested as the shape", body(shape=[2, 2], data=[[1, 2], [3, 4]]), None),
    ("not finite", shape("[3]").replace(b"[1, 2]", b"[NaN, Infinity, -Infinity]"), None),
    ("a string", body(datatype="BYTES", shape=[1], data=["a"]), None),
    ("binary", binary(8), None),
    ("binary string", binary(9, datatype="BYTES", shape=[2]), None),
    ("nothing in it", body(shape=[0], data=[]), None),
    ("an id and parameters", body({"id": "1", "parameters": {"sequence_id": 5, "binary_data_output": True}}), None),
    ("an output", body(output={"name": "o", "parameters": {"binary_data": True}}), None),
    ("classes of scores", body(output={"name": "o", "parameters": {"classification": 3}}), None),
    ("classes of a string", body(output=CLASSES_OF_STRING), MALFORMED),
    ("classes, key escaped", escaped("classification", body(output=CLASSES_OF_STRING)), MALFORMED),
    ("classes of nothing", body(output=CLASSES, shape=[0], data=[]), MALFORMED),
    ("a huge shape", shape("[1000000000]"), MALFORMED),
    ("a huge shape, exponent", shape("[1e9]"), MALFORMED),
    ("a huge shape, many digits", shape("[" + "9" * 400 + "]"), MALFORMED),
    ("a huge exponent", shape("[1e999999]"), MALFORMED),
    ("a product too large", shape("[100, 100]"), MALFORMED),
    ("a product that wraps to 0", shape("[4294967296, 4294967296]"), MALFORMED),
    ("a product that wraps to 2", shape("[2, 9223372036854775809]"), MALFORMED),
    ("negative", shape("[-1]"), MALFORMED),
    ("two negatives", shape("[-1, -2]"), MALFORMED),
    ("a fraction", shape("[1.5]"), MALFORMED),
    ("no number", shape('["2"]'), MALFORMED),
    ("null", shape("null"), MALFORMED),
    ("an object", shape('{"0": 2}'), MALFORMED),
    ("NaN", shape("[NaN]"), MALFORMED),
    ("too many dimensions", shape("[" + "1," * 40 + "2]"), MALFORMED),
    ("less data than shape", shape("[3]"), MALFORMED),
    ("more data than shape", shape("[1]"), MALFORMED),
    ("shape missing", body(shape=...), MALFORMED),
    ("shape twice", body().replace(b'"shape"', b'"shape": [1000000000], "shape"'), MALFORMED),
    ("shape twice, escaped", body().replace(b'"shape"', b'"sh\\u0061pe": [1000000000], "shape"'), MALFORMED),
    ("inputs twice", body().replace(b'"inputs"', b'"inputs": [], "inputs"', 1), MALFORMED),
    ("inputs missing", b"{}", MALFORMED),
    ("inputs an object", b'{"inputs": {}}', MALFORMED),
    ("inputs numbers", b'{"inputs": [1]}', MALFORMED),
    ("too many inputs", json.dumps({"inputs": [json.loads(body())["inputs"][0]] * 300}).encode(), MALFORMED),
    ("name missing", body(name=...), MALFORMED),
    ("name a number", body(name=5), MALFORMED),
    ("datatype unknown", body(datatype="FP3"), MALFORMED),
    ("datatype a list", body(datatype=["FP32"]), MALFORMED),
    ("no data", body(data=...), MALFORMED),
    ("data twice", body(parameters={"binary_data_size": 8}), MALFORMED),
    ("data a string", body(data="ab"), MALFORMED),
    ("binary, size not the shape's", binary(9), MALFORMED),
    ("binary, a product too large", binary(40_000, shape=[100, 100]), MALFORMED),
    ("binary, negative", binary(-8), MALFORMED),
    ("binary, a fraction", binary(8.5), MALFORMED),
    ("binary, a string", binary("8"), MALFORMED),
    ("binary strings too short", binary(7, datatype="BYTES", shape=[2]), MALFORMED),
    ("binary, huge", binary(4_000_000_000, shape=[1_000_000_000]), MALFORMED),
    ("shared memory", body(data=..., parameters={"shared_memory_region": "r"}), MALFORMED),
    ("shared memory out", body(output={"name": "o", "parameters": {"shared_memory_region": "r"}}), MALFORMED),
    ("a reserved parameter", body({"parameters": {"triton_x": 1}}), MALFORMED),
    ("a header's name", body({"parameters": {"X-User": "root"}}), MALFORMED),
    ("a header's name, lower", body({"parameters": {"x_user": "root"}}), MALFORMED),
    ("a header's name, escaped", escaped("X-User", body({"parameters": {"X-User": 1}})), MALFORMED),
    ("parameters a list", body({"parameters": [1]}), MALFORMED),
    ("outputs a number", body({"outputs": 5}), MALFORMED),
    ("deep", b'{"inputs": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", MALFORMED),
    ("deep data", body(data="D").replace(b'"D"', b"[" * 40 + b"1" + b"]" * 40), MALFORMED),
    ("many tensors", body({"inputs": [json.loads(body())["inputs"][0]] * 256}), None),
    ("as many members as no request", body({"p": {f"{n}": n for n in range(4100)}}), MALFORMED),
    ("as many objects as no request", body(data=[{}] * 4100), MALFORMED),
    ("deep objects", b'{"a":' * 40 + b"1" + b"}" * 40, MALFORMED),
    ("deep, without end", b"[" * 60_000, MALFORMED),
    ("more than allowed", body() + b" " * 65536, LARGE),
    ("nothing", b"", MALFORMED),
    ("not JSON", b"inputs=1", MALFORMED),
    ("a list", b"[]", MALFORMED),
    ("null alone", b"null", MALFORMED),
    ("something after", body() + b"{}", MALFORMED),
    ("a comment", body() + b"// x", MALFORMED),
    ("a byte order mark", b"\xef\xbb\xbf" + body(), MALFORMED),
    ("UTF-16", body().decode().encode("utf-16"), MALFORMED),
    ("NUL after", body() + b"\0", MALFORMED),
    ("a key with NUL", b'{"inputs\\u0000": 1, ' + body()[1:], MALFORMED),
    ("single quotes", body().replace(b'"', b"'"), MALFORMED),
    ("a comma too many", body().replace(b"[1, 2]", b"[1, 2,]"), MALFORMED),
    ("a point without a fraction", body().replace(b"[1, 2]", b"[1.,2]"), MALFORMED),
    ("hexadecimal", body().replace(b"[1, 2]", b"[0x1, 2]"), MALFORMED),
    ("a leading zero", body().replace(b"[1, 2]", b"[01, 2]"), MALFORMED),
    ("a plus", body().replace(b"[1, 2]", b"[+1, 2]"), MALFORMED),
]  # fmt: skip
OTHERS: list[tuple[str, bytes, str | None]] = [
    ("generate", b'{"text_input": "x", "parameters": {"temperature": 0}}', None),
    ("generate", b'{"x": 1, "X-User": "root"}', MALFORMED),
    ("generate_stream", b'{"x": 1, "parameters": {"triton_x": 1}}', MALFORMED),
    ("generate", b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}", MALFORMED),
    ("index", b"", None),
    ("index", b'{"ready": true}', None),
    ("load", b'{"parameters": {"config": "{}", "file:1/model.onnx": "eA=="}}', None),
    ("load", b'{"parameters": {"file:../../x/1/model.py": "eA=="}}', MALFORMED),
    ("load", b'{"parameters": {"file:/etc/x": "eA=="}}', MALFORMED),
    ("load", b'{"parameters": []}', MALFORMED),
    ("logging", b'{"log_verbose_level": 1}', None),
]


@in_both_luas
@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in INFER], ids=[row[0] for row in INFER])
def test_a_request_passes_when_it_cannot_harm_triton(lua: str, text: bytes, expected: str | None) -> None:
    assert core(lua).ask("json_problem", text, LIMITS) == expected, core(lua).reason


@in_both_luas
@pytest.mark.parametrize(("action", "text", "expected"), OTHERS)
def test_other_actions_have_rules_of_their_own(lua: str, action: str, text: bytes, expected: str | None) -> None:
    assert core(lua).ask("json_problem", text, LIMITS, action) == expected


@in_both_luas
def test_classes_are_refused_where_nobody_says_which_outputs_have_any(lua: str) -> None:
    sent = body(output={"name": "o", "parameters": {"classification": 3}})
    assert core(lua).ask("json_problem", sent, {}) == MALFORMED


@in_both_luas
@pytest.mark.parametrize("is_binary", [True, False])
def test_what_tritons_own_client_writes_passes(lua: str, is_binary: bool) -> None:
    arrays = {
        "FP32": np.array([[1.5, np.nan, np.inf]], np.float32), "INT64": np.array([-(2**63)]), "BOOL": np.array([True]),
        "UINT8": np.zeros((1, 3, 4), np.uint8), "BYTES": np.array(["a", 'ü"\\\n\x7f', ""], dtype=object),
    }  # fmt: skip
    inputs = []
    for datatype, array in arrays.items():
        tensor = triton_http.InferInput(datatype, array.shape, datatype)
        tensor.set_data_from_numpy(array, binary_data=is_binary)
        inputs.append(tensor)
    outputs = [triton_http.InferRequestedOutput("o", binary_data=is_binary, class_count=2)]
    text, size = triton_http.InferenceServerClient.generate_request_body(
        inputs, outputs=outputs, request_id="1", sequence_id=7, priority=1, timeout=5, parameters={"mine": 1}
    )
    assert core(lua).ask("json_problem", text[:size], LIMITS) is None, core(lua).reason


@in_both_luas
def test_what_our_client_writes_passes(lua: str) -> None:
    tensors = (Raw("x", "FP32", (1, 5), memoryview(bytes(20))), Raw("s", "BYTES", (1,), memoryview(b"\x01\0\0\0a")))
    call = Infer("a", tensors, outputs=("o",), request_id="1", parameters={"mine": 1}, class_count=2)
    request = http_request(call)
    length = int(request.headers["Inference-Header-Content-Length"])
    assert core(lua).ask("json_problem", bytes(request.parts[0]), LIMITS) is None, core(lua).reason
    assert core(lua).ask("json_length", dict(request.headers)) == length


def mutated(dice: random.Random, text: bytes) -> bytes:
    pieces = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\u0041", b"\\ud800", b"0", b"-", b"1e5", b"null",
              b" ", b"\t",
              b"\x7f", b"\x1f", b"true", b".5", b"NaN", b'"a":1,', b"\xc3\xa9"]  # fmt: skip
    for _ in range(dice.randint(0, 2)):
        at = dice.randint(0, len(text))
        text = text[:at] + dice.choice(pieces) + text[at + dice.choice((0, 0, 1)) :]
    return text


CONTROLS = dict.fromkeys([*range(32), 127])


class DoubledError(ValueError):
    pass


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs) or any(key != key.translate(CONTROLS) for key, _ in pairs):
        raise DoubledError
    return dict(pairs)


@in_both_luas
def test_json_is_what_python_says_it_is_but_for_keys_that_come_twice(lua: str) -> None:
    dice, judge, passed = random.Random(8), core(lua), 0
    words = b'{"a": [1.5e-3, -0, true, null, {"b": "\\/\\u20ac"}]}'
    seeds = [body(), binary(8), words, body({"id": 'a"\\\u00e9'})]
    for _ in range(5000):
        text = mutated(dice, dice.choice(seeds))
        is_taken = judge.ask("json_problem", text, {}, "logging") is None
        try:
            read = json.loads(text.decode("utf-8", "surrogateescape"), object_pairs_hook=_no_doubles)
            is_sound = isinstance(read, dict) and isinstance(read.get("parameters", {}), dict)
        except (ValueError, RecursionError):
            is_sound = False
        if is_sound and "\\ud800" in text.decode("utf-8", "surrogateescape"):
            continue  # half a pair: Python takes it, Triton does not
        assert is_taken == is_sound, (text, judge.reason)
        passed += is_taken
    assert passed > 500
