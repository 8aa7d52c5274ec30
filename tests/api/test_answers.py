"""What the API answers, what it hands on to Triton, and what it logs."""

import asyncio
import json
import socket
from typing import Any

import pytest

from ai102.host.listen import tcp_listener
from tests.api.stand_in import JPEG, PNG, SCORES, VECTOR, api, files

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_images_are_labelled_in_the_order_sent() -> None:
    async def case() -> None:
        async with api() as service:
            answer = await service.http.post("/v1/classify", files=[*files(PNG), *files(JPEG, name="ü<b>.jpg")])
            body = answer.json()
            assert 0 < body.pop("latency_ms") < 10_000
            seven = {"label": "seven", "score": 0.75, "top": [{"label": "seven", "score": 0.75}]}
            assert (answer.status_code, body) == (
                200,
                {
                    "model": "classify_image",
                    "request_id": answer.headers["x-request-id"],
                    "predictions": [{"filename": "a.png", **seven}, {"filename": "ü<b>.jpg", **seven}],
                },
            )
            assert service.triton.requests[0].model_name == "classify_image"

    asyncio.run(case())


def test_top_tells_the_best_labels_from_the_scores() -> None:
    async def case() -> None:
        async with api() as service:
            (found,) = (await service.http.post("/v1/classify?top=3", files=files(PNG))).json()["predictions"]
            assert [one["label"] for one in found["top"]] == ["seven", "eight", "zero"]
            assert [one["score"] for one in found["top"]] == pytest.approx([0.9, 0.02, 0.01])
            assert service.triton.requests[0].model_name == "score_image"

    asyncio.run(case())


@pytest.mark.parametrize(("body", "count"), [({"text": "one"}, 1), ({"texts": ["one", "zwei ✓", "\0"]}, 3)])
def test_texts_are_embedded(body: dict[str, Any], count: int) -> None:
    async def case() -> None:
        async with api() as service:
            answer = (await service.http.post("/v1/embed", json=body)).json()
            assert answer["embeddings"] == [VECTOR] * count
            assert answer["truncated"] == [False] * count
            assert answer["model"] == "embed_text"

    asyncio.run(case())


def test_what_can_be_asked_is_told() -> None:
    async def case() -> None:
        async with api() as service:
            models = (await service.http.get("/v1/models")).json()["models"]
            assert [
                (one["task"], one["route"], one["is_ready"], one["max_items"], one["max_top"]) for one in models
            ] == [
                ("classify", "/v1/classify", True, 3, len(SCORES)),
                ("embed", "/v1/embed", True, 3, 0),
            ]

    asyncio.run(case())


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [
        (["q-7.a_B"], True),
        (["x" * 64], True),
        (["x" * 65], False),
        ([""], False),
        (["a b"], False),
        (["a", "b"], False),
        (["a\u00e9"], False),
        (['{"a":1}'], False),
    ],
)
def test_a_request_id_is_kept_if_it_is_one(sent: list[str], is_kept: bool) -> None:
    async def case() -> None:
        async with api() as service:
            headers = [(b"x-request-id", value.encode("latin-1")) for value in sent]
            answer = await service.http.post("/v1/embed", json={"text": "a"}, headers=headers)
            ours = answer.headers["x-request-id"]
            assert (ours == sent[0]) == is_kept
            assert ours == answer.json()["request_id"] == service.lines()[0]["request_id"]
            assert ours == service.triton.requests[0].id == service.triton.metadata[0]["x-request-id"]

    asyncio.run(case())


@pytest.mark.parametrize(
    ("sent", "is_passed"),
    [(TRACEPARENT, True), (TRACEPARENT + "0", False), (TRACEPARENT.replace("00-0af", "ff-0af"), False), ("x", False)],
)
def test_a_traceparent_goes_to_triton_if_it_is_one(sent: str, is_passed: bool) -> None:
    async def case() -> None:
        async with api() as service:
            await service.http.post("/v1/embed", json={"text": "a"}, headers={"traceparent": sent})
            assert (service.triton.metadata[0].get("traceparent") == sent) == is_passed

    asyncio.run(case())


def test_a_line_is_logged_with_nothing_of_the_contents() -> None:
    async def case() -> None:
        async with api() as service:
            headers = {"x-user": 'ann"\u00e9'.encode("latin-1"), "x-request-id": "q-1"}
            await service.http.post("/v1/classify?top=2", files=files(PNG, name="secret.png"), headers=headers)
            await service.http.get("/v1/secret?secret")
            first, second = service.lines()
            assert {key: first[key] for key in ("request_id", "user", "method", "route", "status")} == {
                "request_id": "q-1", "user": 'ann"\u00e9', "method": "POST", "route": "/v1/classify", "status": 200,
            }  # fmt: skip
            assert first["bytes_in"] > len(PNG)
            assert first["bytes_out"] > 0
            assert first["ms"] > 0
            assert (second["route"], second["status"]) == ("unknown", 404)
            assert "secret" not in "".join(service.log)

    asyncio.run(case())


def test_the_callers_name_and_token_do_not_reach_triton() -> None:
    async def case() -> None:
        async with api() as service:
            headers = {"x-user": "ann", "authorization": "Bearer t", "cookie": "a=b"}
            await service.http.post("/v1/embed", json={"text": "a"}, headers=headers)
            assert service.triton.metadata[0].keys() & headers.keys() == set()

    asyncio.run(case())


def test_readiness_is_an_answer_of_each_model() -> None:
    async def case() -> None:
        async with api() as service:
            answer = await service.http.get("/readyz")
            assert (answer.status_code, answer.json()["models"]) == (200, {"classify_image": True, "embed_text": True})
            for _ in range(5):
                await service.http.get("/readyz")
            assert len(service.triton.requests) == 2, "asked no more often than once a second"
            assert (await service.http.get("/healthz")).json() == {"status": "ok"}

    asyncio.run(case())


def test_answers_are_json_that_every_parser_reads() -> None:
    async def case() -> None:
        async with api() as service:
            answer = await service.http.post("/v1/embed", json={"text": "a"})
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"
            json.loads(answer.content, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    asyncio.run(case())


def test_answers_do_not_wait_for_nagles_algorithm() -> None:
    with tcp_listener(
        "127.0.0.1:0", backlog=8, named="the test"
    ) as listener:  # asyncio turns it off for what is named as TCP
        assert listener.proto == socket.IPPROTO_TCP
