"""Asynchronous jobs through either real proxy, answered by the real API: who hands in what, and who sees whose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ai102.gateway.running import ProxyName, Runner
from tests.gateway.access_log import row_of
from tests.gateway.asking import Asker
from tests.gateway.conftest import Home, home_in, needs, wait_until
from tests.gateway.jobs_api import jobs_api
from tests.gateway.tokens import ROLES, TokenMaker

pytestmark = pytest.mark.e2e
NOBODY = ("127.0.0.1:9", "127.0.0.1:19")
MIB = 1 << 20
TEXT = {"model": "embed_text", "text": "hello"}
IMAGE = {"model": "classify_image", "image": "aGVsbG8="}


def infer(*models: str, **conditions: Any) -> dict[str, Any]:
    return {"verbs": ["infer"], "models": list(models), **conditions}


GRANTS: dict[str, list[dict[str, Any]]] = ROLES | {
    "texts": [infer("embed_*")],
    "images": [infer("classify_image")],
    "short": [infer("embed_text", max_body_bytes=20), infer("classify_image", max_body_bytes=MIB)],
    "afar": [infer("*", networks=["10.0.0.0/8"])],
    "first": [infer("*", versions=["1"])],
    "reader": [{"verbs": ["describe"], "models": ["*"]}],
    # As much as the header takes, and the one that is needed last.
    "many": [infer(f"{number:0128d}") for number in range(31)] + [infer("x" * 86), infer("embed_text")],
}


@dataclass(frozen=True)
class Caller:
    """Asks the gateway with a token of its own."""

    asker: Asker
    token: str

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        if body is not None:
            options |= {"content": body if isinstance(body, bytes) else json.dumps(body).encode()}
            options["headers"] = {"content-type": "application/json", **options.get("headers", {})}
        return self.asker.ask(method, path, self.token, **options)

    def submit(self, body: Any, **options: Any) -> httpx.Response:
        return self.ask("POST", "/v1/jobs", body, **options)

    def job(self) -> str:
        """The id of a new one."""
        answer = self.submit(TEXT)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def status(self, method: str, path: str) -> int:
        return self.ask(method, path).status_code


@dataclass(frozen=True)
class Open:
    """A gateway before the API."""

    home: Home
    asker: Asker

    def caller(self, name: str, *roles: str) -> Caller:
        return Caller(self.asker, self.home.tokens.token(name, roles=list(roles)))

    def grant(self, **roles: list[dict[str, Any]]) -> None:
        self.home.tokens.write_state(self.home.state, role_grants=GRANTS | roles)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with jobs_api(tmp_path_factory.mktemp("jobs")) as address:
        yield address


@pytest.fixture(scope="module", params=[pytest.param(name, marks=needs(name)) for name in ("haproxy", "nginx")])
def gateway(
    request: pytest.FixtureRequest, api: str, tokens: TokenMaker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    proxy: ProxyName = request.param
    limits = {"max_body_bytes": 34 * MIB}
    home = home_in(tmp_path_factory.mktemp("home"), tokens, [NOBODY], services={"api": api}, limits=limits)
    with Runner(home.gateway, home.folder, proxy, home.folder / "log"), closing(Asker(home)) as asker:
        opened = Open(home, asker)
        opened.grant()
        ready = opened.caller("someone", "texts")
        wait_until(lambda: ready.submit(TEXT).status_code == 202, "the gateway has the grants")
        yield opened


def titles(answer: httpx.Response) -> list[Any]:
    """By row of a bulk answer, its state, or the kind of its problem."""
    return [row.get("state") or row["problem"]["type"].rpartition("#")[2] for row in answer.json()["jobs"]]


def test_a_job_for_a_model_that_the_caller_may_ask_is_taken_and_others_are_refused_one_by_one(gateway: Open) -> None:
    ann = gateway.caller("ann", "texts")
    taken, alone, many = ann.submit(TEXT), ann.submit(IMAGE), ann.submit({"jobs": [TEXT, IMAGE, TEXT]})
    assert (taken.status_code, taken.headers["location"]) == (202, f"/v1/jobs/{taken.json()['id']}")
    assert (alone.status_code, alone.json()["type"]) == (403, "/docs#forbidden")
    assert (many.status_code, titles(many)) == (202, ["queued", "forbidden", "queued"])


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["texts", "images"], (202, ["queued", "queued"])),
        (["short"], (202, ["queued", "queued"])),
        (["short", "afar"], (202, ["queued", "queued"])),
        (["images", "afar"], (202, ["forbidden", "queued"])),
        (["images", "first"], (202, ["forbidden", "queued"])),
        (["images", "reader"], (202, ["forbidden", "queued"])),
        (["afar"], (403, [])),
        (["first"], (403, [])),
        (["reader"], (403, [])),
        ([], (403, [])),
    ],
)
def test_conditions_of_grants_hold_for_each_job(
    roles: list[str], expected: tuple[int, list[str]], gateway: Open
) -> None:
    answer = gateway.caller("cat", *roles).submit({"jobs": [TEXT, IMAGE]})
    assert (answer.status_code, titles(answer) if answer.status_code == 202 else []) == expected


def test_an_input_larger_than_the_grant_allows_is_refused(gateway: Open) -> None:
    texts = [TEXT | {"text": "a" * size} for size in (16, 17)]  # and four bytes for the length
    assert titles(gateway.caller("dan", "short").submit({"jobs": texts})) == ["queued", "too-large"]
    both = gateway.caller("dan", "short", "texts").submit({"jobs": texts})
    assert titles(both) == ["queued", "queued"]


@pytest.mark.parametrize(
    "forged",
    [
        {"X-User": "ann", "X-User-May-Infer": "*"},
        [("x-user", "ann"), ("X-USER", "root"), ("x-user-may-infer", "a"), ("X-User-May-Infer", "*")],
        [("x-user-may-infer", "classify_image"), ("x-user-may-infer", "")],
    ],
)
def test_a_caller_is_who_its_token_says_whatever_headers_it_sends(forged: Any, gateway: Open) -> None:
    ann, eve = gateway.caller("ann", "texts"), gateway.caller("eve", "texts")
    id, names = ann.job(), httpx.Headers(forged).multi_items()
    headers = [*names, ("authorization", f"Bearer {eve.token}"), ("content-type", "application/json")]
    ask = gateway.asker.rest.request
    bulk = ask("POST", "/v1/jobs", headers=headers, content=json.dumps({"jobs": [TEXT, IMAGE]}))
    assert titles(bulk) == ["queued", "forbidden"]
    seen = [ask(method, f"/v1/jobs/{id}{rest}", headers=headers).status_code
            for method, rest in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"))]  # fmt: skip
    assert seen == [404, 404, 404]
    assert id not in [row["id"] for row in ask("GET", "/v1/jobs?limit=1000", headers=headers).json()["jobs"]]
    assert ann.ask("GET", f"/v1/jobs/{id}").json()["state"] == "queued"


def test_a_user_of_another_issuer_is_another_one_of_that_name(gateway: Open) -> None:
    other = TokenMaker("https://login.example", key_id="other")
    state = gateway.home.tokens.state(role_grants=GRANTS)
    state["issuers"] |= other.state()["issuers"]
    foreign = state["issuers"][other.issuer]
    foreign["is_ours"] = False
    del foreign["revoked"]
    gateway.home.state.write_text(json.dumps(state))
    ours, theirs = gateway.caller("kim", "texts"), Caller(gateway.asker, other.token("kim", roles=["texts"]))
    try:
        wait_until(lambda: theirs.status("GET", "/v1/jobs") == 200, "the gateway knows the other issuer")
        id, other_id = ours.job(), theirs.job()
        assert (theirs.status("GET", f"/v1/jobs/{id}"), ours.status("GET", f"/v1/jobs/{other_id}")) == (404, 404)
        assert (theirs.status("GET", f"/v1/jobs/{other_id}"), ours.status("GET", f"/v1/jobs/{id}")) == (200, 200)
        # An issuer cannot be claimed.
        forged = {"headers": {"X-User-Issuer": other.issuer}}
        assert ours.ask("GET", f"/v1/jobs/{other_id}", **forged).status_code == 404
    finally:
        gateway.grant()


def test_a_caller_sees_its_own_jobs_and_no_other(gateway: Open) -> None:
    fay, gus = gateway.caller("fay", "texts"), gateway.caller("gus", "texts")
    ids = [fay.job() for _ in range(3)]
    path = f"/v1/jobs/{ids[0]}"
    assert [row["id"] for row in fay.ask("GET", "/v1/jobs?state=queued&limit=2").json()["jobs"]] == ids[:0:-1]
    assert gus.ask("GET", "/v1/jobs").json() == {"jobs": [], "next": None}
    theirs = [gus.status("GET", path), gus.status("GET", f"{path}/events"), gus.status("POST", f"{path}/cancel")]
    assert theirs == [404, 404, 404]
    assert gus.ask("POST", "/v1/jobs/ended?wait=30s", {"ids": ids}).json() == {"jobs": [], "gone": ids}
    assert fay.ask("POST", f"{path}/cancel").json()["state"] == "cancelled"
    # Without any right to infer, one's own are there all the same.
    reader = gateway.caller("fay")
    assert reader.ask("POST", "/v1/jobs/ended?wait=30s", {"ids": ids[:1]}).json()["jobs"][0]["state"] == "cancelled"
    assert [reader.status("GET", path), reader.submit(TEXT).status_code] == [200, 403]


def test_nobody_without_a_token_gets_to_jobs(gateway: Open) -> None:
    path = f"/v1/jobs/{gateway.caller('ann', 'texts').job()}"
    calls = [("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", path), ("GET", f"{path}/events"),
             ("POST", f"{path}/cancel"), ("POST", "/v1/jobs/ended")]  # fmt: skip
    assert [gateway.asker.status(method, place) for method, place in calls] == [401] * len(calls)


def test_a_grant_that_is_taken_away_is_gone_for_the_next_job(gateway: Open) -> None:
    hal = gateway.caller("hal", "texts", "images")

    def taken() -> list[str] | int:
        answer = hal.submit({"jobs": [TEXT, IMAGE]})
        return titles(answer) if answer.status_code == 202 else answer.status_code

    assert taken() == ["queued", "queued"]
    try:
        gateway.grant(images=[])
        wait_until(lambda: taken() == ["queued", "forbidden"], "one grant is gone", within_s=5)
        gateway.grant(images=[], texts=[])
        wait_until(lambda: taken() == 403, "both are gone", within_s=5)
        assert hal.status("GET", "/v1/jobs") == 200
    finally:
        gateway.grant()
    wait_until(lambda: taken() == ["queued", "queued"], "they are back", within_s=5)


def test_a_long_body_passes_with_as_many_rights_as_the_header_takes(gateway: Open) -> None:
    assert len(",".join(row["models"][0] for row in GRANTS["many"])) == 4096
    body = json.dumps({"jobs": [TEXT | {"text": "a" * 9_900_000}] * 3}).encode()
    answer = gateway.caller("ida", "many").submit(body)
    assert (answer.status_code, titles(answer)) == (202, ["queued"] * 3)
    assert gateway.caller("ida", "many").submit(b" " * (34 * MIB + 1)).status_code == 413


def test_the_log_says_whose_jobs_were_asked_for(gateway: Open) -> None:
    ida = gateway.caller("ida", "texts")
    ida.submit(TEXT, headers={"x-request-id": "jobs-1"})
    ida.ask("GET", "/v1/jobs", headers={"x-request-id": "jobs-2"})
    seen = [row_of(gateway.home.folder / "log", id) for id in ("jobs-1", "jobs-2")]
    assert [(row["subject"], row["verb"], row["model"], row["status"]) for row in seen] == [
        ("ida", "submit", "", 202), ("ida", "own", "", 200),
    ]  # fmt: skip


def test_an_event_arrives_while_the_stream_goes_on(gateway: Open) -> None:
    jon = gateway.caller("jon", "texts")
    path = f"/v1/jobs/{jon.job()}"
    headers = {"authorization": f"Bearer {jon.token}"}
    with gateway.asker.rest.stream("GET", f"{path}/events", headers=headers) as stream:
        lines = stream.iter_lines()
        assert stream.headers["content-type"].startswith("text/event-stream")
        first = next(line for line in lines if line.startswith("data:"))  # the stream goes on until the job has ended
        assert jon.ask("POST", f"{path}/cancel").json()["state"] == "cancelled"
        last = next(line for line in lines if line.startswith("data:"))
        assert list(lines) == [""]
    assert [json.loads(line.removeprefix("data:"))["state"] for line in (first, last)] == ["queued", "cancelled"]


def test_a_caller_that_waits_hears_of_the_end_at_once(gateway: Open) -> None:
    kim = gateway.caller("kim", "texts")
    path = f"/v1/jobs/{kim.job()}"
    assert kim.ask("POST", f"{path}/cancel").status_code == 200
    assert kim.ask("GET", f"{path}?wait=30s").json()["state"] == "cancelled"
    assert kim.status("GET", f"{path}?wait=31s") == 422
