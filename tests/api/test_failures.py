"""What happens when Triton, the network or the caller fails, or too much is asked at once."""

import asyncio
import gc
import json
from typing import Any

import grpc
import httpx
import pytest

from ai102.api.app import application
from tests.api.stand_in import ASKED, LIMITS, PNG, Api, api, files, until

CODES = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "said", "status", "kind", "detail"),
    [
        (CODES.INVALID_ARGUMENT, "in ensemble 'classify_image', image 2 of 2: the image is empty (0 bytes): send it",
         422, "bad-image", "The image is empty (0 bytes): send it."),
        (CODES.INVALID_ARGUMENT, "in ensemble 'x', these 12 bytes are not a PNG or JPEG image: send another",
         422, "bad-image", "These 12 bytes are not a PNG or JPEG image: send another."),
        (CODES.INVALID_ARGUMENT, "[request id: 7] unexpected shape for input 'pixels' for model 'digits_int8'",
         422, "bad-image", "The model refused the input."),
        (CODES.UNAVAILABLE, "Exceeds maximum queue size", 503, "busy",
         "The model server has too much to do: try again in a moment."),
        (CODES.RESOURCE_EXHAUSTED, "rate", 503, "busy", "The model server has too much to do: try again in a moment."),
        (CODES.UNAVAILABLE, "Request for unknown model: 'classify_image' is not found", 503, "unavailable",
         "The model is not loaded: try again in a moment."),
        (CODES.UNAVAILABLE, "Socket closed", 503, "unavailable",
         "The model server does not answer: try again in a moment."),
        (CODES.DEADLINE_EXCEEDED, "too late", 504, "deadline",
         "There was no answer within 10 s: send less at once, or try again later."),
        (CODES.PERMISSION_DENIED, "no", 502, "bad-answer", "The model server could not answer this request."),
        (CODES.UNAUTHENTICATED, "no", 502, "bad-answer", "The model server could not answer this request."),
        (CODES.INTERNAL, 'File "/opt/model.py", line 3, in execute', 502, "bad-answer",
         "The model server could not answer this request."),
        (CODES.UNIMPLEMENTED, "", 502, "bad-answer", "The model server could not answer this request."),
        (CODES.ABORTED, "?", 502, "bad-answer", "The model server could not answer this request."),
    ],
)  # fmt: skip
def test_each_error_of_triton_has_its_problem(code: Any, said: str, status: int, kind: str, detail: str) -> None:
    async def case() -> None:
        async with api() as service:
            service.triton.refusal = code, said
            answer = await service.http.post("/v1/classify", files=files(PNG, PNG))
            body = answer.json()
            assert (answer.status_code, body["type"], body["detail"]) == (status, f"/docs#{kind}", detail)
            assert ("retry-after" in answer.headers) == (status == 503)
            assert body.get("position") == (2 if "2 of 2" in said else None)

    asyncio.run(case())


def test_without_a_triton_it_lives_but_is_not_ready() -> None:
    async def case() -> None:
        async with api() as service:
            service.triton.refusal = CODES.UNAVAILABLE, "Socket closed"
            answer = await service.http.get("/readyz")
            assert (answer.status_code, answer.json()["models"]) == (
                503,
                {"classify_image": False, "embed_text": False},
            )
            assert answer.headers["retry-after"] == "1"
            assert (await service.http.get("/healthz")).status_code == 200
            assert not any(one["is_ready"] for one in (await service.http.get("/v1/models")).json()["models"])

    asyncio.run(case())


def test_numbers_that_json_does_not_have_are_no_answer() -> None:
    async def case() -> None:
        async with api() as service:
            service.triton.vector = [1.0, float("nan")]
            answer = await service.http.post("/v1/embed", json={"text": "a"})
            assert (answer.status_code, answer.json()["type"]) == (502, "/docs#bad-answer")

    asyncio.run(case())


def test_a_defect_of_ours_is_a_problem_without_its_traceback() -> None:
    async def case() -> None:
        log: list[str] = []
        no_client: Any = "secret"
        broken = application(ASKED, no_client, LIMITS, log.append).asgi
        transport = httpx.ASGITransport(broken, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            answer = await http.post("/v1/embed", json={"text": "a"})
        assert (answer.status_code, answer.json()["type"]) == (500, "/docs#failed")
        assert answer.headers["x-request-id"] == json.loads(log[0])["request_id"]
        assert "str" not in answer.text

    asyncio.run(case())


def test_an_answer_too_late_is_given_up_and_the_call_ended() -> None:
    async def case() -> None:
        async with api(deadline_s=0.2) as service:
            service.triton.hangs = True
            answer = await service.http.post("/v1/embed", json={"text": "a"})
            assert (answer.status_code, answer.json()["type"]) == (504, "/docs#deadline")
            await until(lambda: service.triton.busy == 0)

    asyncio.run(case())


def test_more_than_may_wait_are_told_to_come_back() -> None:
    async def case() -> None:
        async with api(deadline_s=30) as service:
            service.triton.hangs = True
            most = LIMITS.max_calls + LIMITS.max_waiting
            asking = [asyncio.ensure_future(service.http.post("/v1/embed", json={"text": "a"})) for _ in range(most)]
            await until(lambda: service.application.gate.inside == most and service.triton.busy == LIMITS.max_calls)
            answer = await service.http.post("/v1/embed", json={"text": "a"})
            assert (answer.status_code, answer.json()["type"]) == (503, "/docs#busy")
            assert answer.headers["retry-after"] == "1"
            for one in asking:
                one.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await until(lambda: service.application.gate.inside == 0)

    asyncio.run(case())


def test_uploads_together_hold_no_more_than_they_may() -> None:
    async def case() -> None:
        async with api(max_held_bytes=100) as service:
            answer = await service.http.post("/v1/classify", files=files(PNG + b"." * 200))
            assert (answer.status_code, answer.json()["detail"]) == (
                503,
                "Too many uploads are under way: try again in a moment.",
            )
            assert service.application.gate.held_bytes == 0

    asyncio.run(case())


async def connected(service: Api, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*service.address)
    writer.write(sent)
    await writer.drain()
    return reader, writer


def post(route: str, *headers: str, kind: str = "application/json") -> bytes:
    return "\r\n".join([f"POST {route} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *headers, "", ""]).encode()


def test_a_caller_who_leaves_ends_the_call_and_leaves_nothing_behind() -> None:
    async def case() -> None:
        async with api(deadline_s=30, over_http=True) as service:
            service.triton.hangs = True
            before = len(asyncio.all_tasks())
            _, writer = await connected(service, post("/v1/embed", "Content-Length: 12") + b'{"text":"a"}')
            await until(lambda: service.triton.busy == 1)
            writer.transport.abort()
            await until(lambda: service.triton.busy == 0 and service.application.gate.inside == 0)
            await until(lambda: len(service.log) == 1)
            assert service.lines()[0]["status"] == 499
            gc.collect()
            await until(lambda: len(asyncio.all_tasks()) <= before)

    asyncio.run(case())


def test_a_caller_who_leaves_in_the_middle_of_an_upload_leaves_nothing_behind() -> None:
    async def case() -> None:
        async with api(part_timeout_s=30, over_http=True) as service:
            form = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + PNG
            kind = "multipart/form-data; boundary=b"
            _, writer = await connected(service, post("/v1/classify", "Content-Length: 2000", kind=kind) + form)
            await until(lambda: service.application.gate.held_bytes > 0)
            writer.transport.abort()
            await until(lambda: (service.application.gate.inside, service.application.gate.held_bytes) == (0, 0))
            await until(lambda: len(service.log) == 1)
            assert service.lines()[0]["status"] == 499

    asyncio.run(case())


@pytest.mark.parametrize("is_trickling", [False, True], ids=["it stops", "it trickles"])
def test_a_slow_upload_is_given_up(is_trickling: bool) -> None:
    async def case() -> None:
        async with api(part_timeout_s=0.2, upload_timeout_s=0.5, over_http=True) as service:
            reader, writer = await connected(service, post("/v1/embed", "Content-Length: 1000") + b'{"text":"')
            # No further: what trickles in after the answer makes the system reset the connection.
            answer = asyncio.ensure_future(reader.readuntil(b"}"))
            while is_trickling and not answer.done():
                writer.write(b"a")
                await asyncio.wait([answer], timeout=0.03)
            head, _, body = (await asyncio.wait_for(answer, 5)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 ")
            detail = "The body was not whole after 0.5 s." if is_trickling else "The body stopped for more than 0.2 s."
            assert json.loads(body)["detail"] == detail
            writer.close()

    asyncio.run(case())


def test_an_endless_upload_is_refused_at_the_limit() -> None:
    async def case() -> None:
        async with api(over_http=True) as service:
            kind = "multipart/form-data; boundary=b"
            reader, writer = await connected(service, post("/v1/classify", "Transfer-Encoding: chunked", kind=kind))
            answer = asyncio.ensure_future(reader.readuntil(b"}"))
            sent = 0
            while not answer.done():
                writer.write(b"200\r\n" + b"-" * 512 + b"\r\n")
                sent += 512
                await asyncio.wait([answer], timeout=0.001)
                assert sent < 10 << 20
            assert b"HTTP/1.1 4" in await answer
            await until(lambda: len(service.log) == 1)
            assert service.lines()[0]["bytes_in"] <= LIMITS.max_upload_bytes + (64 << 10)
            writer.close()

    asyncio.run(case())


def test_a_length_over_the_limit_is_refused_before_anything_is_sent() -> None:
    async def case() -> None:
        async with api(over_http=True) as service:
            sent = post("/v1/embed", "Content-Length: 999999999", "Expect: 100-continue")
            reader, writer = await connected(service, sent)
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            writer.close()
            await until(lambda: len(service.log) == 1)
            assert service.lines()[0]["bytes_in"] == 0

    asyncio.run(case())


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 12", "Content-Length: 13"),
        ("Content-Length: -1",),
        ("Content-Length: 12", "Transfer-Encoding: gzip"),
        ("Transfer-Encoding: chunked, chunked",),
        ("Content-Length : 12",),
        ("X-A: a\0b",),
        ("X-A: " + "a" * 20_000,),
    ],
    ids=["two lengths", "negative", "another coding", "chunked twice", "space before the colon", "NUL", "20 kB"],
)
def test_headers_that_two_servers_would_read_differently_are_refused(headers: tuple[str, ...]) -> None:
    async def case() -> None:
        async with api(over_http=True) as service:
            reader, writer = await connected(service, post("/v1/embed", *headers) + b'{"text":"a"}')
            line = await asyncio.wait_for(reader.readline(), 5)
            assert line.split(b" ")[1] in (b"400", b"501"), line
            assert service.triton.requests == []
            writer.close()

    asyncio.run(case())
