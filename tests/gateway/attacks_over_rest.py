"""Requests that harm Triton, or reach what the caller may not, each with the statuses that may come."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable

from tests.gateway.attackers import CLOSED, Target, asked, connected, request, status_of

Attack = Callable[[Target], int]
INFER = "POST /v2/models/echo/infer"
JSON = "Content-Type: application/json"
BODY = json.dumps({"inputs": [{"name": "IN", "shape": [2], "datatype": "UINT8", "data": [1, 2]}]}).encode()
JOB = json.dumps({"model": "hidden", "text": "a"}).encode()
JOB_PATH = "/v1/jobs/0198a3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
MAX_BODY_BYTES = 1 << 20
REFUSED_FORM = {400, CLOSED}


def of(line: str, *headers: str, body: bytes = b"") -> Attack:
    return lambda target: asked(target, request(line, target.bearer, *headers, body=body))


def infer(body: bytes, *headers: str) -> Attack:
    return of(INFER, JSON, *headers, body=body)


def tensor(**changed: object) -> bytes:
    return json.dumps(
        {"inputs": [{"name": "IN", "shape": [2], "datatype": "UINT8", "data": [1, 2]} | changed]}
    ).encode()


def deep(levels: int) -> bytes:
    return b'{"inputs":' + b"[" * levels + b"]" * levels + b"}"


def framed(*headers: str, body: bytes) -> Attack:
    """A body whose framing the headers tell, right or wrong."""
    return lambda target: asked(target, request(INFER, target.bearer, JSON, *headers, body=body, length=False))


def smuggled(target: Target) -> int:
    inner = request("GET /v2/models/hidden/config", target.bearer)
    outer = request(
        INFER, target.bearer, JSON, "Content-Length: 4", "Transfer-Encoding: chunked", body=b"0\r\n\r\n", length=False
    )
    return asked(target, outer + inner)


def endless_headers(target: Target) -> int:
    """A line of a header each moment, never the last."""
    with connected(target) as connection:
        connection.sendall(f"{INFER} HTTP/1.1\r\nHost: localhost\r\n{target.bearer}\r\n".encode())
        return status_of(connection)


def slow_body(target: Target) -> int:
    with connected(target) as connection:
        connection.sendall(request(INFER, target.bearer, JSON, "Content-Length: 100", body=b"{", length=False))
        return status_of(connection)


def chunked(target: Target) -> int:
    """More than may be sent, its length told to nobody."""
    head = request(INFER, target.bearer, JSON, "Transfer-Encoding: chunked", length=False)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    return asked(target, head, *[chunk] * (MAX_BODY_BYTES // 65536 + 2), b"0\r\n\r\n")


def token_in_query(target: Target) -> int:
    return asked(target, request(f"GET /v2/models/echo/config?access_token={target.token}"))


def token_in_cookie(target: Target) -> int:
    return asked(target, request("GET /v2/models/echo/config", f"Cookie: access_token={target.token}"))


def two_authorizations(target: Target) -> int:
    return asked(target, request("GET /v2/models/echo/config", target.bearer, "Authorization: Bearer x"))


def binary(length: str, body: bytes = BODY) -> Attack:
    return of(INFER, "Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {length}", body=body)


REST: dict[str, tuple[Attack, set[int]]] = {
    # What kills the server.
    "a shape of 1e9": (infer(tensor(shape=[1_000_000_000, 8])), {400}),
    "a shape of 1e9 as a float": (infer(tensor().replace(b'"shape": [2]', b'"shape": [1e9]')), {400}),
    "a shape whose product overflows": (infer(tensor(shape=[2**32, 2**32])), {400}),
    "a negative shape": (infer(tensor(shape=[-2])), {400}),
    "JSON nested 150,000 deep": (infer(deep(150_000)), {400, 413}),
    "JSON nested 1,000 deep": (infer(deep(1_000)), {400}),
    "6 MB as a form": (
        of(INFER, "Content-Type: application/x-www-form-urlencoded", body=b"a=" + b"x" * 6_000_000),
        {413, 415},
    ),
    "a small form": (of(INFER, "Content-Type: application/x-www-form-urlencoded", body=b"a=b"), {415}),
    "a form in parts": (of(INFER, "Content-Type: multipart/form-data; boundary=x", body=b"--x--"), {415}),
    "a form in capitals": (of(INFER, "Content-Type: APPLICATION/X-WWW-FORM-URLENCODED;a=b", body=b"a=b"), {415}),
    # Bodies.
    "a body over the limit": (infer(b" " * (MAX_BODY_BYTES + 1)), {413}),
    "a chunked body over the limit": (chunked, {413}),
    "JSON over its own limit": (infer(tensor(data=[1] * 60_000, shape=[60_000])), {400, 413}),
    "a length that is none": (framed("Content-Length: 1x", body=b"{"), REFUSED_FORM),
    "a negative length": (framed("Content-Length: -5", body=b"{"), REFUSED_FORM),
    "two lengths": (framed("Content-Length: 2", "Content-Length: 3", body=b"{}"), REFUSED_FORM),
    "a length and chunks": (smuggled, REFUSED_FORM),
    "chunks under another name": (
        framed("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
        {400, 411, 415, 501, CLOSED},
    ),
    "a chunk whose size is none": (framed("Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n"), REFUSED_FORM),
    "a compressed body": (infer(gzip.compress(BODY), "Content-Encoding: gzip"), {415}),
    "headers that never end": (endless_headers, {400, 408, CLOSED}),
    "a body that never comes": (slow_body, {400, 408, CLOSED}),
    "no JSON": (infer(b"not json"), {400}),
    "a key twice": (infer(b'{"inputs":[],' + BODY[1:]), {400}),
    "a name twice by an escape": (infer(b'{"\\u0069nputs":[],' + BODY[1:]), {400}),
    "shared memory as parameter": (infer(tensor(parameters={"shared_memory_region": "r"})), {400, 403}),
    "a reserved parameter": (infer(BODY[:-1] + b',"parameters":{"triton_x":true}}'), {400, 403}),
    "more JSON than body": (binary("5000"), {400}),
    "a negative length of JSON": (binary("-1"), {400}),
    "a length of JSON twice": (
        of(INFER, "Inference-Header-Content-Length: 2", "Inference-Header-Content-Length: 90", body=BODY),
        {400},
    ),
    # Rights.
    "another model": (of("POST /v2/models/hidden/infer", JSON, body=BODY), {403}),
    "another model's config": (of("GET /v2/models/hidden/config"), {403}),
    "another model in other letters": (of("POST /v2/models/Hidden/infer", JSON, body=BODY), {403}),
    "a path back": (of("POST /v2/models/echo/../hidden/infer", JSON, body=BODY), {400, 403, 404}),
    "a path back in code": (of("POST /v2/models/echo/%2e%2e/hidden/infer", JSON, body=BODY), {400, 404}),
    "a slash in code": (of("POST /v2/models/echo%2F..%2Fhidden/infer", JSON, body=BODY), {400, 404}),
    "two slashes": (of("POST /v2//models/hidden/infer", JSON, body=BODY), {404}),
    "a name in code": (of("POST /v2/models/%68idden/infer", JSON, body=BODY), {404}),
    "a zero byte in the name": (of("POST /v2/models/echo%00/infer", JSON, body=BODY), {400, 404}),
    "a path parameter": (of("POST /v2/models/hidden;x=echo/infer", JSON, body=BODY), {400, 404}),
    "a slash at the end": (of("POST /v2/models/echo/infer/", JSON, body=BODY), {404}),
    "a whole address": (of("POST http://localhost/v2/models/hidden/infer", JSON, body=BODY), {400, 403, 404}),
    "a version that is another's": (of("POST /v2/models/echo/versions/01/infer", JSON, body=BODY), {404}),
    "the repository's index": (of("POST /v2/repository/index"), {403}),
    "to load a model": (of("POST /v2/repository/models/echo/load"), {403}),
    "to unload a model": (of("POST /v2/repository/models/echo/unload"), {403}),
    "the log's settings": (of("POST /v2/logging", JSON, body=b'{"log_verbose_level":9}'), {403}),
    "the trace's settings": (of("POST /v2/trace/setting", JSON, body=b"{}"), {403}),
    "to register shared memory": (of("POST /v2/systemsharedmemory/region/r/register", JSON, body=b"{}"), {404}),
    "to look at shared memory": (of("GET /v2/cudasharedmemory/status"), {404}),
    "the metrics": (of("GET /metrics"), {404}),
    "a route that nobody named": (of("GET /v3"), {404}),
    # Jobs.
    "a job without a token": (lambda target: asked(target, request("POST /v1/jobs", JSON, body=JOB)), {401}),
    "a job by a user of one's own": (
        lambda target: asked(target, request("POST /v1/jobs", "X-User: root", "X-User-May-Infer: *", JSON, body=JOB)),
        {401},
    ),
    "all jobs of a user of one's own": (lambda target: asked(target, request("GET /v1/jobs", "X-User: root")), {401}),
    "a job by a user in disguise": (of("POST /v1/jobs", "X_User: root", JSON, body=JOB), {400}),
    "a job by rights in disguise": (of("POST /v1/jobs", "X-User_May-Infer: *", JSON, body=JOB), {400}),
    "a job by rights that a connection names": (
        of("POST /v1/jobs", "Connection: close, X-User-May-Infer", JSON, body=JOB),
        {400},
    ),
    "a token in the query of events": (
        lambda target: asked(target, request(f"GET {JOB_PATH}/events?access_token={target.token}"[:2000])),
        {401, 404},
    ),
    "an id that is none": (of("GET /v1/jobs/1"), {404}),
    "an id in capitals": (of(f"GET {JOB_PATH.upper().replace('/V1/JOBS', '/v1/jobs')}"), {404}),
    "an id in code": (of(f"GET {JOB_PATH.replace('0', '%30', 1)}"), {404}),
    "an id of 2 kB": (of("GET /v1/jobs/" + "0" * 2_000), {404}),
    "a path back from a job": (of(f"POST {JOB_PATH}/../{JOB_PATH[9:]}/cancel"), {400, 404}),
    "a slash behind a job": (of(f"GET {JOB_PATH}/"), {404}),
    "to delete a job": (of(f"DELETE {JOB_PATH}"), {400, 405}),
    "to put jobs": (of("PUT /v1/jobs", JSON, body=JOB), {405}),
    "to cancel by looking": (of(f"GET {JOB_PATH}/cancel"), {405}),
    "a job over the limit": (of("POST /v1/jobs", JSON, body=b" " * (MAX_BODY_BYTES + 1)), {413}),
    "a compressed job": (of("POST /v1/jobs", JSON, "Content-Encoding: gzip", body=gzip.compress(JOB)), {415}),
    # Headers.
    "a user in disguise": (infer(BODY, "X_User: root"), {400}),
    "rights in disguise": (infer(BODY, "X_User_May_Infer: *"), {400}),
    "a name of our own making": (infer(BODY, "Connection: close, Authorization"), {400}),
    "a token in the query": (token_in_query, {401, 404}),
    "a token in a cookie": (token_in_cookie, {401}),
    "two authorizations": (two_authorizations, {400, 401}),
    "a folded header": (of("GET /v2/models/echo/config", "X-A: b\r\n  c"), {200, 400}),
    "a header with a zero byte": (of("GET /v2/models/echo/config", "X-A: \x00"), REFUSED_FORM),
    "a space before the colon": (of("GET /v2/models/echo/config", "Content-Length : 5"), REFUSED_FORM),
    "a header of 100 kB": (of("GET /v2/models/echo/config", "X-A: " + "x" * 100_000), {400, 431, CLOSED}),
    "1,000 headers": (of("GET /v2/models/echo/config", *[f"X-{n}: 1" for n in range(1000)]), {400, 431, CLOSED}),
    "an upgrade": (
        of("GET /v2/models/echo/config", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"),
        {400},
    ),
    # Methods.
    "TRACE": (of("TRACE /v2/models/echo/config"), {400, 405}),
    "CONNECT": (of("CONNECT localhost:8000"), {400, 404, 405, CLOSED}),
    "another method": (of("DELETE /v2/models/echo/config"), {400, 405}),
    "HTTP/0.9": (lambda target: asked(target, b"GET /v2/models/hidden/config\r\n\r\n"), {400, CLOSED}),
    "no HTTP": (lambda target: asked(target, b"\x16\x03\x01\x00\x00\r\n\r\n"), {400, CLOSED}),
}  # fmt: skip
