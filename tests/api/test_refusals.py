"""Bad input: each with its status, its kind of problem and one sentence."""

import asyncio
import json
from typing import Any

import pytest

from tests.api.stand_in import PNG, api, files

BOUNDARY = "multipart/form-data; boundary=b"
JSON = {"content-type": "application/json"}


def form(*parts: bytes, end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def part(data: bytes = PNG, name: str = 'name="images"; filename="a.png"', more: str = "") -> bytes:
    return f"Content-Disposition: form-data; {name}\r\n{more}\r\n".encode() + data


def multipart(*parts: bytes, kind: str = BOUNDARY, **changes: Any) -> dict[str, Any]:
    return {"content": form(*parts, **changes), "headers": {"content-type": kind}}


def text(content: str | bytes, kind: str = "application/json") -> dict[str, Any]:
    return {"content": content, "headers": {"content-type": kind}}


IMAGES = [
    ("no body", {}, 415, "unsupported-type", "Send a form as multipart/form-data, each image as a file named images."),
    ("a form of no parts", multipart(end=b"--b--\r\n"), 422, "invalid", "The form has no file in the field images."),
    ("an image as the body", {"content": PNG, "headers": {"content-type": "image/png"}}, 415, "unsupported-type",
     "Send a form as multipart/form-data, each image as a file named images."),
    ("no boundary", multipart(part(), kind="multipart/form-data"), 400, "malformed",
     "The Content-Type names no boundary."),
    ("a boundary too long", multipart(part(), kind="multipart/form-data; boundary=" + "b" * 300), 400, "malformed",
     "The body is not a valid multipart form."),
    ("another boundary", multipart(part(), kind="multipart/form-data; boundary=c"), 400, "malformed",
     "The body is not a valid multipart form."),
    ("no end", multipart(part(), end=b""), 400, "malformed",
     "The form is cut short: its closing boundary is missing."),
    ("an empty file", {"files": files(b"")}, 422, "bad-image", "The file is empty."),
    ("text named PNG", {"files": files(b"hello")}, 415, "unsupported-type", "The file is not a PNG or JPEG image."),
    ("one byte of a PNG, then text", {"files": files(b"\x89hello")}, 415, "unsupported-type",
     "The file is not a PNG or JPEG image."),
    ("too large a file", {"files": files(PNG + b"." * 1000)}, 413, "too-large", "The file is larger than 1000 bytes."),
    ("too large a form", {"files": files(*[PNG + b"." * 900] * 3)}, 413, "too-large",
     "The body is larger than 2500 bytes."),
    ("too many files", {"files": files(*[PNG] * 4)}, 413, "too-large", "There are more than 3 images in the form."),
    ("another field", {"files": {"photo": ("a.png", PNG)}}, 422, "invalid",
     "The form has a field that is not images."),
    ("a field that is no file", multipart(part(b"hello", name='name="images"')), 415, "unsupported-type",
     "The file is not a PNG or JPEG image."),
    ("a name too long", {"files": files(PNG, name="n" * 256)}, 422, "invalid",
     "A file's name is longer than 255 characters."),
    ("a header twice", multipart(part(more="Content-Disposition: form-data; name=x\r\n")), 400, "malformed",
     "A part of the form has a header twice."),
    ("no header", multipart(b"\r\n" + PNG), 422, "invalid", "The form has a field that is not images."),
    ("a header of a megabyte", multipart(part(more="X: " + "x" * 3000 + "\r\n")), 413, "too-large",
     "The body is larger than 2500 bytes."),
    ("base64", multipart(part(more="Content-Transfer-Encoding: base64\r\n")), 415, "unsupported-type",
     "Send each file as it is, without a Content-Transfer-Encoding."),
    ("gzip", {"files": files(PNG), "headers": {"content-encoding": "gzip"}}, 415, "unsupported-type",
     "Send the body as it is, without a Content-Encoding."),
    ("top of 0", {"files": files(PNG), "params": {"top": 0}}, 422, "invalid",
     "top: Input should be greater than or equal to 1."),
    ("top above the labels", {"files": files(PNG), "params": {"top": 11}}, 422, "invalid",
     "top: Input should be less than or equal to 10."),
    ("top of words", {"files": files(PNG), "params": {"top": "<script>"}}, 422, "invalid",
     "top: Input should be a valid integer, unable to parse string as an integer."),
]  # fmt: skip
TEXTS = [
    ("no body", {}, 415, "unsupported-type", "Send JSON in UTF-8, as Content-Type: application/json."),
    ("a form", {"data": {"text": "a"}}, 415, "unsupported-type",
     "Send JSON in UTF-8, as Content-Type: application/json."),
    ("another charset", text('{"text":"a"}', "application/json; charset=latin-1"), 415, "unsupported-type",
     "Send JSON in UTF-8, as Content-Type: application/json."),
    ("no JSON", text("hello"), 400, "malformed", "The body is not valid JSON in UTF-8."),
    ("an empty body", text(""), 400, "malformed", "The body is not valid JSON in UTF-8."),
    ("no UTF-8", text(b'{"text":"\xff"}'), 400, "malformed", "The body is not valid JSON in UTF-8."),
    ("UTF-16", text('{"text":"a"}'.encode("utf-16")), 400, "malformed", "The body is not valid JSON in UTF-8."),
    ("half a surrogate", text(r'{"text":"\ud800"}'), 400, "malformed", "The body is not valid JSON in UTF-8."),
    ("deep JSON", text('{"text":' + "[" * 900 + "]" * 900 + "}"), 400, "malformed",
     "The body is not valid JSON in UTF-8."),
    ("an array", text('["a"]'), 422, "invalid", "Input should be an object."),
    ("nothing", text("{}"), 422, "invalid", "Send text, or a list texts, and not both."),
    ("both", text('{"text":"a","texts":["b"]}'), 422, "invalid", "Send text, or a list texts, and not both."),
    ("NaN", text('{"text":NaN}'), 422, "invalid", "text: Input should be a valid string."),
    ("null", text('{"text":null}'), 422, "invalid", "text: Input should be a valid string."),
    ("a number", text('{"texts":[1]}'), 422, "invalid", "texts.0: Input should be a valid string."),
    ("an empty text", text('{"text":""}'), 422, "invalid", "text: String should have at least 1 character."),
    ("white space", text('{"texts":["a"," \\n"]}'), 422, "invalid", "texts.1: Send more than white space."),
    ("no texts", text('{"texts":[]}'), 422, "invalid",
     "texts: List should have at least 1 item after validation, not 0."),
    ("too many texts", text(json.dumps({"texts": ["a"] * 4})), 422, "invalid",
     "texts: List should have at most 3 items after validation, not 4."),
    ("a text too long", text(json.dumps({"text": "a" * 51})), 422, "invalid",
     "text: String should have at most 50 characters."),
    ("a huge text", text(json.dumps({"text": "a" * 5000})), 413, "too-large", "The body is larger than 2000 bytes."),
    ("a key of its own", text(json.dumps({"text": "a", "k" * 500: 1})), 422, "invalid",
     f"{'k' * 60}: Extra inputs are not permitted."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("route", "request_", "status", "kind", "detail"),
    [
        pytest.param(route, *row, id=f"{route.rpartition('/')[2]}: {name}")
        for route, rows in (("/v1/classify", IMAGES), ("/v1/embed", TEXTS))
        for name, *row in rows
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    route: str, request_: dict[str, Any], status: int, kind: str, detail: str
) -> None:
    async def case() -> None:
        async with api() as service:
            answer = await service.http.post(route, **request_)
            body = answer.json()
            assert (answer.status_code, body["type"], body["detail"]) == (status, f"/docs#{kind}", detail)
            assert answer.headers["content-type"] == "application/problem+json"
            assert body["status"] == status
            assert body["instance"] == f"/requests/{body['request_id']}"
            assert (service.application.gate.inside, service.application.gate.held_bytes) == (0, 0)
            assert service.triton.requests == []

    asyncio.run(case())


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/classify", 405, "method-not-allowed"),
        ("DELETE", "/v1/embed", 405, "method-not-allowed"),
        ("TRACE", "/", 405, "method-not-allowed"),
        ("PROPFIND", "/readyz", 405, "method-not-allowed"),
        ("GET", "/v1/", 404, "not-found"),
        ("GET", "/v1/models/", 404, "not-found"),
        ("GET", "/docs/oauth2-redirect", 404, "not-found"),
        ("GET", "/redoc", 404, "not-found"),
        ("POST", "/../../etc/passwd", 404, "not-found"),
        ("GET", "/%00<script>", 404, "not-found"),
        ("GET", "/v2/models/digits_int8", 404, "not-found"),
    ],
)
def test_other_methods_and_addresses_are_problems_too(method: str, path: str, status: int, kind: str) -> None:
    async def case() -> None:
        async with api() as service:
            answer = await service.http.request(method, path)
            assert (answer.status_code, answer.json()["type"]) == (status, f"/docs#{kind}")
            assert ("allow" in answer.headers) == (status == 405)
            assert "script" not in answer.text

    asyncio.run(case())


def test_the_image_that_is_wrong_is_named() -> None:
    async def case() -> None:
        async with api() as service:
            sent = [*files(PNG), *files(b"hello", name='"><img src=x>.png')]
            body = (await service.http.post("/v1/classify", files=sent)).json()
            assert (body["position"], body["filename"]) == (2, "%22><img src=x>.png")

    asyncio.run(case())


def test_a_form_of_a_thousand_files_is_refused_at_the_first_too_many() -> None:
    async def case() -> None:
        async with api(max_upload_bytes=10 << 20, over_http=True) as service:
            answer = await service.http.post("/v1/classify", files=files(*[PNG] * 1000))
            assert answer.json()["detail"] == "There are more than 3 images in the form."
            assert service.application.gate.held_bytes == 0

    asyncio.run(case())
