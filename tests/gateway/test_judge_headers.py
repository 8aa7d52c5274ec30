"""Headers at the gateway: nothing that the next server could read another way."""

from typing import Any

import pytest

from tests.gateway.judge_core import core, in_both_luas

MALFORMED, KIND, LARGE = "malformed", "unsupported_media_type", "header_too_large"
USUAL = {"host": "h", "content-type": "application/json", "content-length": "5"}

# what differs from the usual (None: left out), kind, answer
TABLE: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "triton", None),
    ({"Content-Type": "application/octet-stream", "content-type": None}, "triton", None),
    ({"content-type": None}, "triton", None),
    ({"x-user": "root"}, "triton", None),  # the gateway removes it
    ({"x-user-may-infer": "*"}, "api", None),
    ({"x-user-issuer": "https://login.example"}, "api", None),
    ({"X-User-May-Infer": ["*", "*=1"]}, "api", None),
    ({"connection": "keep-alive"}, "triton", None),
    ({"transfer-encoding": "chunked", "content-length": None}, "triton", None),
    ({"content-encoding": "identity"}, "triton", None),
    ({"expect": "100-continue"}, "triton", None),
    ({"x-many": ["a", "b"]}, "triton", None),
    ({"traceparent": "00-1-2-01"}, "triton", None),
    ({"content-length": ["5", "6"]}, "triton", MALFORMED),
    ({"content-length": ["5", "5"]}, "triton", MALFORMED),
    ({"content-length": "5, 5"}, "triton", MALFORMED),
    ({"content-length": "+5"}, "triton", MALFORMED),
    ({"content-length": "-5"}, "triton", MALFORMED),
    ({"content-length": "0x5"}, "triton", MALFORMED),
    ({"content-length": "9" * 20}, "triton", MALFORMED),
    ({"transfer-encoding": "chunked"}, "triton", MALFORMED),
    ({"transfer-encoding": "gzip, chunked", "content-length": None}, "triton", MALFORMED),
    ({"transfer-encoding": "xchunked", "content-length": None}, "triton", MALFORMED),
    ({"transfer-encoding": ["chunked", "identity"], "content-length": None}, "triton", MALFORMED),
    ({"Content-Length": "6"}, "triton", MALFORMED),
    ({"content_length": "6"}, "triton", MALFORMED),
    ({"x_user": "root"}, "triton", MALFORMED),
    ({"x-user_may-infer": "*"}, "api", MALFORMED),
    ({"X_User_May_Infer": "*"}, "grpc", MALFORMED),
    ({"connection": "X-User-May-Infer"}, "api", MALFORMED),
    ({"X_Forwarded_For": "10.0.0.1"}, "triton", MALFORMED),
    ({"ai102_secret": "x"}, "triton", MALFORMED),
    ({"authorization": ["Bearer a", "Bearer b"]}, "triton", MALFORMED),
    ({"host": ["a", "b"]}, "triton", MALFORMED),
    ({"inference-header-content-length": ["1", "2"]}, "triton", MALFORMED),
    ({"connection": "x-user"}, "triton", MALFORMED),
    ({"connection": "close, Authorization"}, "triton", MALFORMED),
    ({"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c"}, "triton", MALFORMED),
    ({"upgrade": "websocket"}, "triton", MALFORMED),
    ({"te": "gzip"}, "triton", MALFORMED),
    ({"x user": "a"}, "triton", MALFORMED),
    ({"x-user ": "root"}, "triton", MALFORMED),
    ({"x-user\t": "root"}, "triton", MALFORMED),
    ({"x-ü": "a"}, "triton", MALFORMED),
    ({"": "a"}, "triton", MALFORMED),
    ({"x-a": "b\r\nX-User: root"}, "triton", MALFORMED),
    ({"x-a": "b\0"}, "triton", MALFORMED),
    ({"content-encoding": "gzip"}, "triton", KIND),
    ({"content-encoding": "deflate"}, "triton", KIND),
    ({"content-encoding": "identity, gzip"}, "triton", KIND),
    ({"content-encoding": ""}, "triton", KIND),
    ({"content-type": "application/x-www-form-urlencoded"}, "triton", KIND),
    ({"content-type": "APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8"}, "triton", KIND),
    ({"content-type": " \tapplication/x-www-form-urlencoded"}, "triton", KIND),
    ({"content-type": "application/x-www-form-urlencodedX"}, "triton", KIND),
    ({"content-type": "multipart/form-data; boundary=x"}, "triton", KIND),
    ({"content-type": ["application/json", "application/x-www-form-urlencoded"]}, "triton", MALFORMED),
    ({"content-type": "multipart/form-data; boundary=x"}, "api", None),
    ({"content-type": "application/x-www-form-urlencoded"}, "issuer", None),
    ({"content-encoding": "gzip"}, "api", KIND),
    ({"content-type": "application/grpc", "te": "trailers"}, "grpc", None),
    ({"content-type": "application/grpc+proto"}, "grpc", None),
    ({"content-type": "application/grpc", "grpc-encoding": "identity"}, "grpc", None),
    ({"content-type": "application/grpc", "grpc-encoding": "gzip"}, "grpc", KIND),
    ({"content-type": "application/grpc-web"}, "grpc", KIND),
    ({"content-type": "application/json"}, "grpc", KIND),
    ({"content-type": None}, "grpc", KIND),
]


@in_both_luas
@pytest.mark.parametrize(("changes", "kind", "expected"), TABLE)
def test_headers_pass_when_they_can_be_read_in_one_way(
    lua: str, changes: dict[str, Any], kind: str, expected: str | None
) -> None:
    headers = {name: value for name, value in {**USUAL, **changes}.items() if value is not None}
    assert core(lua).ask("header_problem", headers, kind) == expected, core(lua).reason


@in_both_luas
@pytest.mark.parametrize(("value", "expected"), [("a" * 80, None), ("a" * 81, LARGE), (["a" * 40, "a" * 41], LARGE)])
def test_headers_of_more_bytes_than_allowed_are_refused(lua: str, value: Any, expected: str | None) -> None:
    # Each value counts with its name and four bytes more.
    assert core(lua).ask("header_problem", {"x-long": value}, "triton", 90) == expected


@in_both_luas
@pytest.mark.parametrize(
    ("value", "expected"),
    [("5", 5), ("0", 0), ("101", MALFORMED), ("-1", MALFORMED), ("+5", MALFORMED), ("5x", MALFORMED), ("", MALFORMED),
     ("1e1", MALFORMED), (" 5", MALFORMED), ("9" * 30, MALFORMED), (["5", "6"], MALFORMED), (None, None)],
)  # fmt: skip
def test_the_length_of_the_json_is_a_number_within_the_body(lua: str, value: Any, expected: Any) -> None:
    headers = {"content-length": "100"} | ({} if value is None else {"Inference-Header-Content-Length": value})
    assert core(lua).ask("json_length", headers) == expected


@in_both_luas
@pytest.mark.parametrize(
    ("value", "is_kept"),
    [("a-1_B.c", True), ("a" * 64, True), ("a" * 65, False), ("", False), ("a b", False), ("a\n", False)]
)  # fmt: skip
def test_a_request_id_of_the_clients_is_kept_when_it_is_one(lua: str, value: str, is_kept: bool) -> None:
    assert core(lua).ask("request_id", value) == (value if is_kept else None)
