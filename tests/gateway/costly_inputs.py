"""Inputs chosen to cost the gateway as much time as they can, by name; each is made as long as it is asked to be."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterable, Iterator

from tests.gateway.attacks_over_grpc import field, varint

Json = Callable[[int], bytes]
Message = Callable[[int], bytes]


def filled(head: bytes, part: bytes, tail: bytes, size: int) -> bytes:
    """`part` again and again between head and tail, `size` bytes at most in all."""
    return head + part * ((size - len(head) - len(tail)) // len(part)) + tail


def as_data(part: bytes) -> Json:
    head = b'{"inputs":[{"name":"IN","datatype":"UINT8","shape":[4],"data":['
    return lambda size: filled(head, part, b"1]}]}", size)


def as_text(part: bytes, before: bytes = b"", after: bytes = b"") -> Json:
    return lambda size: filled(before, part, after, size)


def as_members(keys: Callable[[], Iterable[str]], before: str = "", after: str = "") -> Json:
    """An object with as many of the keys as there is room for."""

    def text(size: int) -> bytes:
        members = [f'"{key}":0' for key in itertools.islice(keys(), size // 2)]
        ends = itertools.accumulate(len(member) + 1 for member in members)
        count = sum(1 for end in ends if end + len(before) + len(after) + 2 <= size)
        return f"{before}{{{','.join(members[:count])}}}{after}".encode()

    return text


def short_keys() -> Iterator[str]:
    return (f"{number:x}" for number in itertools.count())


def reserved_look_alikes() -> Iterator[str]:
    return (f"triton{number:x}" for number in itertools.count())


def colliding_keys() -> Iterator[str]:
    """They differ in letters only that neither Lua 5.3 nor the first LuaJIT looks at to hash a string of 42."""
    for number in itertools.count():
        letters, digits = ["x"] * 42, f"{number:05d}"
        for place, digit in zip((4, 6, 8, 14, 16), digits, strict=False):
            letters[place] = digit
        yield "".join(letters)


# By name: the JSON of a request of about so many bytes.
JSON_TEXTS: dict[str, Json] = {
    "one number of digits alone": as_text(b"1", b'{"inputs":[],"x":', b" }"),
    "digits, a point and digits": as_text(b"1", b'{"inputs":[],"x":1.', b" }"),
    "digits that no value may follow": as_text(b"1", b'{"inputs":[],"x":', b"x}"),
    "zeros": as_text(b"0", b'{"inputs":[],"x":'),
    "an exponent of digits alone": as_text(b"9", b'{"inputs":[],"x":1e', b"}"),
    "numbers of one digit": as_data(b"1,"),
    "numbers of sixty digits": as_data(b"1" * 60 + b","),
    "fractions": as_data(b"0.1,"),
    "exponents": as_data(b"1e1,"),
    "blanks": as_text(b" ", b'{"inputs":', b"[]}"),
    "blanks before all": as_text(b" ", b"", b"{}"),
    "blanks after all": as_text(b" ", b"{}"),
    "blanks around numbers": as_data(b"1 , "),
    "line breaks": as_text(b"\r\n", b'{"inputs":', b"[]}"),
    "empty lists": as_data(b"[],"),
    "empty objects": as_data(b"{},"),
    "objects with a member": as_data(b'{"a":1},'),
    "lists nested 28 deep": as_data(b"[" * 28 + b"]" * 28 + b","),
    "objects nested 28 deep": as_data(b'{"":' * 28 + b"1" + b"}" * 28 + b","),
    "brackets that never close": as_text(b"["),
    "braces that never close": as_text(b'{"a":'),
    "empty strings": as_data(b'"",'),
    "short escapes": as_data(b'"\\n",'),
    "one string of short escapes": as_text(b"\\n", b'{"inputs":"', b'"}'),
    "one string of escaped letters": as_text(b"\\u0041", b'{"inputs":"', b'"}'),
    "one string of surrogates": as_text(b"\\ud83d\\ude00", b'{"inputs":"', b'"}'),
    "one string of deletes": as_text(b"\x7f", b'{"inputs":"', b'"}'),
    "a string that never ends": as_text(b"a", b'{"inputs":"'),
    "a key that never ends": as_text(b"\\\\", b'{"'),
    "words": as_data(b"true,"),
    "words for no number": as_data(b"NaN,"),
    "one long word": as_text(b"a", b'{"inputs":'),
    "commas": as_text(b",", b'{"inputs":[1', b"]}"),
    "many keys": as_members(short_keys),
    "many parameters": as_members(short_keys, '{"inputs":[],"parameters":', "}"),
    "parameters that look reserved": as_members(reserved_look_alikes, '{"inputs":[],"parameters":', "}"),
    "keys that hash alike": as_members(colliding_keys),
    "zero bytes": as_text(b"\0"),
    "bytes that are no UTF-8": as_text(b"\xff", b'{"inputs":"', b'"}'),
}

ECHO = field(1, b"echo")


def fields(part: bytes) -> Message:
    return lambda size: filled(ECHO, part, b"", size)


def inside(number: int, part: bytes) -> Message:
    """All of it in one field."""
    return lambda size: ECHO + field(number, part * ((size - 16) // len(part)))


# By name: a ModelInferRequest, or what begins like one, of about so many bytes.
MESSAGES: dict[str, Message] = {
    "empty fields that nobody knows": fields(field(15, b"")),
    "numbers that nobody knows": fields(varint(15 << 3) + b"\0"),
    "long numbers that nobody knows": fields(varint(15 << 3) + b"\xff" * 9 + b"\x01"),
    "fields of eight bytes": fields(varint(15 << 3 | 1) + bytes(8)),
    "long tags": fields(varint((1 << 28) << 3) + b"\0"),
    "groups": fields(varint(15 << 3 | 3)),
    "groups that close": fields(varint(15 << 3 | 3) + varint(15 << 3 | 4)),
    "empty inputs": fields(field(5, b"")),
    "empty outputs": fields(field(6, b"")),
    "empty parameters": fields(field(4, b"")),
    "empty tensors": fields(field(7, b"")),
    "parameters with a key": fields(field(4, field(1, b"a"))),
    "parameters with a long key": fields(field(4, field(1, b"y" + b"_" * 999))),
    "an input of empty parameters": inside(5, field(4, b"")),
    "an output of empty parameters": inside(6, field(2, b"")),
    "dimensions in one list": fields(field(5, field(3, b"\1" * 32))),
    "dimensions one by one": fields(field(5, b"\x18\1" * 32)),
    "long dimensions": fields(field(5, field(3, (b"\xff" * 7 + b"\x01") * 32))),
    "outputs asked for their classes": fields(field(6, field(1, b"a") + field(2, field(1, b"classification")))),
    "outputs with long names": fields(field(6, field(1, b"n" * 1000))),
    "names again and again": fields(ECHO),
    "varints that never end": fields(b"\xff"),
    "zero bytes": fields(b"\0"),
}


def token(*parts: bytes) -> str:
    return "Bearer " + ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


HEADER = json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "test-key"}).encode()
CLAIMS = json.dumps({"iss": "https://ai102.example", "aud": "ai102"}).encode()
TOKEN_BYTES = 5900  # as JSON; base64 makes 8 kB of them


def as_header(name: str) -> str:
    return token(JSON_TEXTS[name](TOKEN_BYTES), CLAIMS, b"x")


def as_claims(name: str) -> str:
    return token(HEADER, JSON_TEXTS[name](TOKEN_BYTES), b"x")


IN_TOKENS = (
    "one number of digits alone", "digits, a point and digits", "many keys", "keys that hash alike", "empty lists",
    "one string of short escapes", "lists nested 28 deep",
)  # fmt: skip

# By name: a whole Authorization header that opens nothing.
AUTHORIZATIONS: dict[str, str] = (
    {f"a token's header: {name}": as_header(name) for name in IN_TOKENS}
    | {f"a token's claims: {name}": as_claims(name) for name in IN_TOKENS}
    | {
        "a forged signature": token(HEADER, CLAIMS, b"x" * 256),
        "a signature of 5 kB": token(HEADER, CLAIMS, b"x" * 5000),
        "blanks before the token": "Bearer" + " " * 12_000 + "x!",
        "a token of dots": "Bearer " + "." * 12_000,
        "a token of many parts": "Bearer " + "a." * 6_000,
        "a token without parts": "Bearer " + "a" * 12_000,
        "a token with a strange end": "Bearer " + "a" * 12_000 + "!",
        "no scheme": " " * 6_000 + "x" + " " * 6_000 + "x",
    }
)

LONG = 12_000

# By name: headers of a request beside the usual.
HEADERS: dict[str, list[tuple[str, str]]] = {
    "a content type of blanks": [("content-type", "a" + " " * LONG + "x")],
    "a content type of semicolons": [("content-type", "a" + "; " * (LONG // 2) + "x")],
    "a content type of 250 letters": [("content-type", "a" + " " * 248 + "x")],
    "a connection of many words": [("connection", ", ".join(["close"] * (LONG // 7)))],
    "a connection of commas": [("connection", "," * LONG + "close")],
    "a connection of blanks": [("connection", "close" + " " * LONG + "x")],
    "ninety headers": [(f"x-{number}", "1" * 100) for number in range(90)],
    "one header ninety times": [("x-a", "1" * 100)] * 90,
    "headers with underscores": [("x" + "_" * 100 + str(number), "1") for number in range(80)],
    "a header name at the limit": [("x" * LONG, "1")],
    "a header value at the limit": [("x-a", "1" * LONG)],
    "a request id at the limit": [("x-request-id", "a" * LONG + "!")],
    "request ids": [("x-request-id", "a" * 63 + "!")] * 80,
    "a forwarded for of many": [("x-forwarded-for", ", ".join(["10.0.0.1"] * (LONG // 10)))],
    "a te of many": [("te", ", ".join(["trailers"] * (LONG // 10)))],
    "a cookie at the limit": [("cookie", "a=b; " * (LONG // 5))],
    "rights of one's own at the limit": [("x-user-may-infer", "a=1," * (LONG // 4))],
    "users of one's own": [("x-user", "a" * 100)] * 90,
    "an accept of blanks": [("accept-encoding", "a" + " " * LONG + "x")],
}

# By name: what stands in the request line.
PATHS: dict[str, str] = {
    "a long model": "/v2/models/" + "a" * LONG,
    "slashes": "/v2" + "/a" * 1_000,
    "slashes alone": "/" * LONG,
    "dots": "/v2/models/" + "../" * (LONG // 3),
    "percent signs": "/v2/models/" + "%41" * (LONG // 3),
    "a long query": "/v2?" + "a=b&" * (LONG // 4),
    "question marks": "/v2" + "?" * LONG,
    "a long query of jobs": "/v1/jobs?" + "a=b&" * (LONG // 4),
    "a query of jobs at the limit": "/v1/jobs?" + "a" * 2_000,
    "an id of 2 kB": "/v1/jobs/" + "0" * 2_000,
    "an id of dashes": "/v1/jobs/" + "0-" * 1_000,
    "events of a job again and again": "/v1/jobs/0198a3c4-5d6e-7f80-9a1b-2c3d4e5f6071" + "/events" * 280,
    "a version of digits": "/v2/models/echo/versions/" + "1" * 1_900,
    "versions": "/v2/models/echo" + "/versions/1" * 180,
}
