"""What callers of /v1/jobs can rely on."""

import asyncio
import json
from base64 import b64encode
from typing import Any

import httpx
import pytest

from ai102.jobs.job import Ended, State
from ai102.jobs.ledger.ledger import Ledger
from tests.api.jobs.conftest import Api
from tests.jobs.new import digit

PIXELS = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": [7] * 64}
DIGIT: dict[str, Any] = {"model": "digits_int8", "inputs": [PIXELS]}
TEXT = {"model": "embed_text", "text": "The train to the coast leaves at nine."}
ANN, BOB = ({"x-user": name, "x-user-may-infer": "digits_*=100,embed_text"} for name in ("ann", "bob"))


def changed(**fields: Any) -> dict[str, Any]:
    return {**DIGIT, **fields}


def pixels(**fields: Any) -> dict[str, Any]:
    return {**DIGIT, "inputs": [{**PIXELS, **fields}]}


def work(ledger: Ledger, *ids: str, state: State = State.SUCCEEDED, error: str = "") -> None:
    """End the jobs as a worker does."""
    claimed = ledger.claim(ids, 60).claimed
    assert len(claimed) == len(ids)
    answer = digit(3) if state is State.SUCCEEDED else None
    assert ledger.end([Ended(one.id, one.claim, state, answer, error) for one in claimed]) == len(ids)


async def handed(client: httpx.AsyncClient, job: Any = DIGIT, **headers: str) -> str:
    answer = await client.post("/v1/jobs", json=job, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_job_is_accepted_done_and_fetched(api: Api, ledger: Ledger) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/jobs", json=DIGIT)
        id = answer.json()["id"]
        assert (answer.status_code, answer.json()) == (202, {"id": id, "state": "queued"})
        assert answer.headers["location"] == f"/v1/jobs/{id}"
        assert (await client.get(f"/v1/jobs/{id}")).json()["state"] == "queued"
        work(ledger, id)
        job = (await client.get(f"/v1/jobs/{id}")).json()
        assert (job["state"], job["model"], job["priority"]) == ("succeeded", "digits_int8", "normal")
        assert job["outputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [1, 8, 8], "data": [3] * 64}]

    api.run(test)


def test_each_job_of_a_list_has_its_own_answer_in_order(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        jobs = [DIGIT, {"model": "no_such"}, TEXT, pixels(data=[1])]
        answer = await client.post("/v1/jobs", json={"jobs": jobs})
        rows = answer.json()["jobs"]
        assert answer.status_code == 202
        assert [row.get("state") or row["problem"]["status"] for row in rows] == ["queued", 422, "queued", 422]

    api.run(test)


@pytest.mark.parametrize(
    ("job", "status", "words"),
    [
        ([], 422, "Send a job, or a list of them as jobs."),
        ({"jobs": []}, 422, "jobs: Send a list of one job or more"),
        ({"jobs": [DIGIT], "model": "x"}, 422, "nothing beside it"),
        ({"jobs": [DIGIT] * 1001}, 422, "more than 1000 jobs"),
        ({}, 422, "model: Say which model to ask."),
        (changed(model=7), 422, "model: Send a string."),
        (changed(model="no_such"), 422, "model: There is no such model."),
        (changed(colour="red"), 422, "colour: A job has no such key."),
        (changed(text="also"), 422, "Send one of image, text, data, inputs."),
        ({"model": "digits_int8"}, 422, "Send one of image, text, data, inputs."),
        ({"model": "digits_int8", "text": "x"}, 422, "text: digits_int8 takes tensors: send them as inputs."),
        ({"model": "embed_text", "text": ""}, 422, "text: Send a string that is not empty."),
        ({"model": "classify_image", "image": "é"}, 422, "image: Send its bytes in base64."),
        ({"model": "classify_image", "image": "A"}, 422, "image: Send its bytes in base64."),
        (changed(inputs={}), 422, "inputs: Send a list of tensors"),
        (changed(inputs=[{"name": "pixels"}]), 422, "inputs: Send a list of tensors"),
        (changed(inputs=[PIXELS, PIXELS]), 422, "inputs: digits_int8 takes pixels."),
        (changed(inputs=[{**PIXELS, "name": "other"}]), 422, "inputs: digits_int8 takes pixels."),
        (pixels(datatype="FP32"), 422, "inputs.pixels: The datatype is UINT8."),
        (pixels(shape=[2, 1, 8, 8]), 422, "inputs.pixels: The shape is [1, 1, 8, 8]: a job is one row."),
        (pixels(shape="1,1,8,8"), 422, "The shape is [1, 1, 8, 8]"),
        (pixels(shape=[1, 1, 8, True]), 422, "The shape is [1, 1, 8, 8]"),
        (pixels(data=[7] * 63), 422, "inputs.pixels: data is no list of 64 values"),
        (pixels(data="7"), 422, "data is no list of 64 values"),
        (pixels(data=[256] * 64), 422, "inputs.pixels: The data are not all UINT8."),
        (pixels(data=[-1] * 64), 422, "The data are not all UINT8."),
        (pixels(data=[0.5] * 64), 422, "The data are not all UINT8."),
        (pixels(data=["7"] * 64), 422, "The data are not all UINT8."),
        (pixels(data=[[7] * 32, 7]), 422, "data is no list of 64 values"),
        (changed(priority="urgent"), 422, "priority: Send high, normal, low."),
        (changed(priority=1), 422, "priority: Send a string."),
        (changed(key="k" * 256), 422, "key: It is longer than 255 characters."),
        (changed(not_after="tomorrow"), 422, "not_after: Send a time as RFC 3339 has it"),
        (changed(not_after="2026-12-01T10:00:00"), 422, "not_after: Say the time's offset"),
        (changed(callback="ftp://x/y"), 422, "callback: Send an address that begins with https://."),
        (changed(callback="https://user@x/"), 422, "callback: Send an address"),
    ],
)
def test_a_wrong_job_is_refused_with_one_sentence(api: Api, job: Any, status: int, words: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/jobs", json=job)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.json()["detail"]

    api.run(test)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"model": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
def test_a_body_that_is_no_json_is_refused(api: Api, body: bytes, kind: str, status: int) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/jobs", content=body, headers={"content-type": kind})
        assert answer.status_code == status

    api.run(test)


def test_an_input_larger_than_allowed_is_refused_alone(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        image = b64encode(bytes((10 << 20) + 1)).decode()
        answer = await client.post("/v1/jobs", json={"jobs": [DIGIT, {"model": "classify_image", "image": image}]})
        rows = answer.json()["jobs"]
        assert (rows[0]["state"], rows[1]["problem"]["status"]) == ("queued", 413)

    api.run(test)


def test_a_repeated_key_gives_the_first_job(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        first = await handed(client, **{"idempotency-key": "k"})
        again = (await client.post("/v1/jobs", json=DIGIT, headers={"idempotency-key": "k"})).json()
        assert again == {"id": first, "is_repeated": True, "key": "k"}
        other = await client.post("/v1/jobs", json=pixels(data=[8] * 64), headers={"idempotency-key": "k"})
        assert (other.status_code, other.json()["type"], other.json()["id"]) == (422, "/docs#key-used", first)

    api.run(test)


def test_a_repeated_list_gives_the_first_jobs(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        body, headers = {"jobs": [DIGIT, changed(key="own"), DIGIT]}, {"idempotency-key": "k"}
        first = (await client.post("/v1/jobs", json=body, headers=headers)).json()["jobs"]
        again = (await client.post("/v1/jobs", json=body, headers=headers)).json()["jobs"]
        assert [row["id"] for row in again] == [row["id"] for row in first]
        assert [row["key"] for row in first] == ["k/0", "own", "k/2"]

    api.run(test)


def test_a_caller_sees_only_its_own_jobs(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client, **ANN)
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            answer = await client.request(method, f"/v1/jobs/{id}{path}", headers=BOB)
            assert (answer.status_code, answer.json()["type"]) == (404, "/docs#not-found")
        assert (await client.get("/v1/jobs", headers=BOB)).json()["jobs"] == []
        assert (await client.post("/v1/jobs/ended", json={"ids": [id]}, headers=BOB)).json()["gone"] == [id]
        assert (await client.get(f"/v1/jobs/{id}", headers=ANN)).status_code == 200

    api.run(test)


@pytest.mark.parametrize(
    ("may", "status"),
    [("digits_int8", 202), ("digits_*=64", 202), ("*", 202), ("digits_*=63", 413), ("embed_text", 403), ("", 403)],
)
def test_the_gateways_grants_decide_which_model_may_be_asked(api: Api, may: str, status: int) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/jobs", json=DIGIT, headers={"x-user": "ann", "x-user-may-infer": may})
        assert answer.status_code == status

    api.run(test)


def test_a_user_without_grants_in_its_request_may_ask_nothing(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/jobs", json=DIGIT, headers={"x-user": "ann"})).status_code == 403

    api.run(test)


def test_who_may_not_ask_a_model_does_not_learn_whether_there_is_one(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        body = {"jobs": [{"model": "score_image", "text": "x"}, {"model": "no_such", "text": "x"}]}
        there, not_there = (await client.post("/v1/jobs", json=body, headers=ANN)).json()["jobs"]
        assert there == not_there
        assert there["problem"]["status"] == 403

    api.run(test)


def test_waiting_ends_when_the_job_does(api: Api, ledger: Ledger) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client)
        waiting = asyncio.create_task(client.get(f"/v1/jobs/{id}?wait=20s"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        work(ledger, id)
        async with asyncio.timeout(15):
            assert (await waiting).json()["state"] == "succeeded"

    api.run(test)


def test_waiting_in_vain_gives_the_job_as_it_is(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client)
        assert (await client.get(f"/v1/jobs/{id}?wait=50ms")).json()["state"] == "queued"
        for wrong in ("31s", "-1s", "soon", "1h"):
            assert (await client.get(f"/v1/jobs/{id}?wait={wrong}")).status_code == 422

    api.run(test)


def test_many_are_asked_about_at_once(api: Api, ledger: Ledger) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        ids = [await handed(client) for _ in range(3)]
        asked = {"ids": [*ids, ids[0][:-1] + "0"]}
        waiting = asyncio.create_task(client.post("/v1/jobs/ended?wait=20s", json=asked))
        await asyncio.sleep(0.1)
        work(ledger, ids[1])
        async with asyncio.timeout(15):
            answer = (await waiting).json()
        assert [job["id"] for job in answer["jobs"]] == [ids[1]]
        assert answer["jobs"][0]["outputs"][0]["data"] == [3] * 64
        assert answer["gone"] == [asked["ids"][3]] or asked["ids"][3] == ids[0]

    api.run(test)


def test_a_cancelled_job_stays_cancelled(api: Api, ledger: Ledger) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client)
        assert (await client.post(f"/v1/jobs/{id}/cancel")).json()["state"] == "cancelled"
        assert ledger.claim([id], 60).claimed == []
        assert (await client.post(f"/v1/jobs/{id}/cancel")).json()["state"] == "cancelled"

    api.run(test)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (
            State.FAILED,
            'INVALID_ARGUMENT: in ensemble, "image 1 of 1: the PNG image of 9 bytes is truncated or corrupt"',
            "The PNG image of 9 bytes is truncated or corrupt",
        ),
        (State.FAILED, "something with a path in it: /opt/models", "The model refused the input."),
        (State.DEAD, "10.1.2.3:8001 does not answer", "The model server failed at it again and again."),
    ],
)
def test_a_failed_job_says_why_and_nothing_of_what_is_inside(
    api: Api, ledger: Ledger, state: State, error: str, words: str
) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client)
        work(ledger, id, state=state, error=error)
        job = (await client.get(f"/v1/jobs/{id}")).json()
        assert job["state"] == state
        assert job["error"].startswith(words)
        assert "10.1.2.3" not in json.dumps(job)
        assert "/opt" not in json.dumps(job)

    api.run(test)


def test_events_follow_a_job_to_its_end(api: Api, ledger: Ledger) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client)
        work(ledger, id)
        answer = await client.get(f"/v1/jobs/{id}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        name, data = answer.text.strip().split("\n")
        assert name == "event: state"
        assert json.loads(data.removeprefix("data: "))["state"] == "succeeded"

    api.run(test)


def test_a_full_queue_is_429_and_takes_more_when_there_is_room(api: Api, ledger: Ledger) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        async def taken(count: int, headers: dict[str, str]) -> list[str]:
            """What the queue took; it may count too many for a moment, and says when to come back."""
            async with asyncio.timeout(20):
                while True:
                    answer = await client.post("/v1/jobs", json={"jobs": [DIGIT] * count}, headers=headers)
                    if answer.status_code == 202:
                        return [row["id"] for row in answer.json()["jobs"]]
                    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
                    await asyncio.sleep(0.1)

        ids = await taken(3, ANN)
        full = await client.post("/v1/jobs", json=DIGIT, headers=ANN)
        assert (full.status_code, full.headers["retry-after"], full.json()["type"]) == (429, "1", "/docs#queue-full")
        await taken(2, BOB)
        assert (await client.post("/v1/jobs", json=DIGIT, headers=BOB)).status_code == 429
        work(ledger, *ids)
        await taken(1, ANN)

    api.run(test, max_waiting_per_owner=3, max_waiting=5)


def test_pages_of_a_list_follow_one_another(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        ids = sorted([await handed(client) for _ in range(3)], reverse=True)
        first = (await client.get("/v1/jobs?limit=2")).json()
        second = (await client.get(f"/v1/jobs?limit=2&before={first['next']}")).json()
        assert [job["id"] for job in (*first["jobs"], *second["jobs"])] == ids
        assert second["next"] is None
        assert (await client.get("/v1/jobs?state=running")).json()["jobs"] == []
        for wrong in ("limit=0", "limit=1001", "state=lost", "before=x"):
            assert (await client.get(f"/v1/jobs?{wrong}")).status_code == 422

    api.run(test)


def test_every_route_is_documented_with_its_answers(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert set(paths["/v1/jobs"]["post"]["responses"]) >= {"202", "403", "413", "422", "429", "503"}
        page = (await client.get("/docs")).text
        for path in ("/v1/jobs", "/v1/jobs/ended", "/v1/jobs/{id}", "/v1/jobs/{id}/cancel", "/v1/jobs/{id}/events"):
            assert f"{path}</code>" in page

    api.run(test)


def test_calls_are_counted_by_route_and_not_by_id(api: Api) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        id = await handed(client)
        for _ in range(2):
            await client.get(f"/v1/jobs/{id}")
        await client.get("/v1/jobs/not-an-id")
        text = (await client.get("/metrics")).text
        rows = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("ai102_http_requests_total"))
        assert rows['ai102_http_requests_total{route="/v1/jobs",status="202"}'] == "1.0"
        assert rows['ai102_http_requests_total{route="/v1/jobs/{id}",status="200"}'] == "2.0"
        assert id not in text

    api.run(test)
