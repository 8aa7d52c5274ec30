"""Flagger's hooks at the server of the gate, with judgements that last until the test ends them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from ai102.errors import UserError
from ai102.judging.judgement import Judgement
from ai102.judging.live.trial import Trial
from ai102.judging.webhook import Canary, Gate, Kept, app_for

WITHIN_S = 10


class Judge:
    """Runs a judgement until it is told how it ends, and looks on after each round meanwhile."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ends: list[str] = []
        self.running = self.most_running = self.runs = 0
        self.may_go_on = threading.Event()
        self.kept: list[str] = []
        self.has_kept = threading.Semaphore(0)

    def run(self, judgement: Judgement, look: Callable[[Judgement], None], trial: Trial | None) -> Judgement:
        self.running += 1
        self.runs += 1
        self.most_running = max(self.most_running, self.running)
        try:
            self.begun.release()
            while not self.may_go_on.wait(0.01):
                look(judgement)
            end = self.ends.pop(0)
            if end == "unreachable":
                raise UserError("grpc://canary: no Triton answers")
            judgement.verdict, judgement.reason, judgement.is_over = end, f"because of {end}", True  # type: ignore[assignment]
            return judgement
        finally:
            self.running -= 1

    def keep(self, canary: Canary, kept: Kept) -> None:
        self.kept.append(f"{canary.name} {kept.checksum} {kept.judgement.verdict}")
        self.has_kept.release()

    def end(self, verdict: str) -> None:
        self.ends.append(verdict)
        self.may_go_on.set()


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def client(judge: Judge) -> Iterator[TestClient]:
    gate = Gate(lambda: Judgement("grpc://canary", "grpc://primary", 0.1), judge.run, judge.keep)
    with TestClient(app_for(gate)) as connected:
        yield connected
    judge.may_go_on.clear()
    gate.close()


def ask(client: TestClient, hook: str, checksum: str = "a1", name: str = "triton") -> tuple[int, str]:
    payload = {"name": name, "namespace": "models", "phase": "Progressing", "checksum": checksum, "metadata": {}}
    answer = client.post(f"/{hook}", json=payload)
    return answer.status_code, answer.text


def answered(client: TestClient, hook: str, status: int, checksum: str = "a1") -> str:
    """Ask as Flagger does, again and again, until that status comes."""
    deadline = threading.Event()
    timer = threading.Timer(WITHIN_S, deadline.set)
    timer.start()
    try:
        while (answer := ask(client, hook, checksum))[0] != status:
            assert not deadline.wait(0.01), answer
    finally:
        timer.cancel()
    return answer[1]


@pytest.mark.parametrize("hook", ["confirm-rollout", "pre-rollout", "event", "post-rollout"])
def test_hooks_that_tell_are_answered_and_judge_nothing(hook: str, client: TestClient, judge: Judge) -> None:
    assert ask(client, hook) == (200, "go on")
    assert judge.runs == 0


def test_a_rollout_goes_on_while_it_is_judged_and_its_traffic_waits(client: TestClient, judge: Judge) -> None:
    assert ask(client, "rollout")[0] == 200
    assert ask(client, "confirm-traffic-increase")[0] == 409
    assert ask(client, "confirm-promotion")[0] == 409
    assert ask(client, "rollback")[0] == 409
    judge.end("promote")
    assert answered(client, "confirm-traffic-increase", 200) == "promote: because of promote"
    assert ask(client, "rollout") == (200, "promote: because of promote")
    assert ask(client, "rollback")[0] == 409
    assert judge.runs == 1


@pytest.mark.parametrize("verdict", ["stop", "undecided"])
def test_what_may_not_be_promoted_is_refused_with_the_reason(verdict: str, client: TestClient, judge: Judge) -> None:
    ask(client, "rollout")
    judge.end(verdict)
    assert answered(client, "rollout", 412) == f"{verdict}: because of {verdict}"
    assert ask(client, "confirm-promotion")[0] == 412
    assert ask(client, "rollback")[0] == (200 if verdict == "stop" else 409)


def test_a_new_revision_is_judged_anew_and_never_beside_the_old_one(client: TestClient, judge: Judge) -> None:
    ask(client, "rollout", "a1")
    assert judge.begun.acquire(timeout=WITHIN_S)
    ask(client, "rollout", "b2")
    assert judge.begun.acquire(timeout=WITHIN_S)  # the first one has been ended
    judge.end("promote")
    answered(client, "confirm-promotion", 200, "b2")
    assert judge.has_kept.acquire(timeout=WITHIN_S)
    assert (judge.runs, judge.most_running, judge.kept) == (2, 1, ["triton b2 promote"])


def test_a_canary_that_cannot_be_asked_is_tried_again(client: TestClient, judge: Judge) -> None:
    judge.ends.append("unreachable")
    judge.end("promote")
    assert "no Triton answers" in answered(client, "rollout", 409)
    assert answered(client, "confirm-promotion", 200) == "promote: because of promote"
    assert judge.runs == 2


def test_a_judgement_that_a_rollback_ended_is_made_again(client: TestClient, judge: Judge) -> None:
    ask(client, "rollout")
    assert judge.begun.acquire(timeout=WITHIN_S)
    ask(client, "post-rollout")
    judge_again = threading.Event()
    while not judge_again.wait(0.01) and judge.runs < 2:
        ask(client, "rollout")
    judge.end("promote")
    answered(client, "confirm-promotion", 200)


def test_the_report_is_served(client: TestClient, judge: Judge) -> None:
    assert client.get("/models/triton").status_code == 404
    ask(client, "rollout")
    judge.end("stop")
    answered(client, "rollout", 412)
    assert "The canary is stopped" in client.get("/models/triton").text
    assert client.get("/models/triton.json").json()["reason"] == "because of stop"
    assert client.get("/healthz").text == "ok"


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "no JSON": ({"content": b"{"}, 400, "the body is no JSON"),
    "no object": ({"json": []}, 400, "no JSON object"),
    "no name": ({"json": {"namespace": "a"}}, 400, "name is missing"),
    "a path for a name": ({"json": {"name": "../x", "namespace": "a"}}, 400, "name is missing, or no name"),
    "a path for a checksum": ({"json": {"name": "x", "namespace": "a", "checksum": "../x"}}, 400, "checksum has"),
    "too much": ({"content": b" " * 70_000}, 413, "more than 65536 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused_in_one_sentence(name: str, client: TestClient) -> None:
    request, status, words = BAD[name]
    answer: httpx.Response = client.post("/rollout", **request)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_an_unknown_hook_is_named(client: TestClient) -> None:
    status, text = ask(client, "promote")
    assert (status, text.startswith("no hook promote; there are confirm-rollout,")) == (404, True)
