"""Live answers at Flagger's hooks: a stop is a stop, copies are waited for, and each revision begins anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from ai102.judging.judgement import Judgement
from ai102.judging.live.joining import Joiner
from ai102.judging.live.record import Batch, Record
from ai102.judging.live.trial import Trial
from ai102.judging.webhook import Canary, Gate, Kept, app_for
from tests.judging.live.records import Clock, labelled
from tests.judging.test_webhook import answered, ask

CANARY, PRIMARY = "triton-7c9d8f6b5-x2x4z", "triton-primary-5f6c7d8e9-aaaaa"


class Site:
    """A gate whose judgements promote at once, and pods that send records to it."""

    def __init__(self, wanted: int) -> None:
        self.clock = Clock()
        self.kept: list[str] = []
        self.gate = Gate(
            lambda: Judgement("grpc://canary", "grpc://primary", 0.1), self.run, self.keep,
            lambda: Trial(wanted, joiner=Joiner(self.clock)),
        )  # fmt: skip
        self.client = TestClient(app_for(self.gate))

    def run(self, judgement: Judgement, look: Callable[[Judgement], None], trial: Trial | None) -> Judgement:
        judgement.verdict, judgement.reason, judgement.is_over = "promote", "samples", True
        return judgement

    def keep(self, canary: Canary, kept: Kept) -> None:
        self.kept.append(
            f"{kept.checksum}: {kept.judgement.as_dict(kept.trial.as_dict() if kept.trial else None)['verdict']}"
        )

    def send(self, host: str, *records: Record) -> None:
        self.gate.take(Batch(host, 0, records))

    def answers(self, calls: int, label: str = "seven", first: int = 0) -> None:
        """Both answer so many calls, the canary with that label."""
        for number in range(first, first + calls):
            self.send(PRIMARY, labelled(f"id-{number}"))
            self.send(CANARY, labelled(f"id-{number}", label))
        self.clock.now += 10


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(wanted=200)
    yield made
    made.gate.close()


def test_a_release_that_answers_live_calls_wrongly_is_stopped_at_every_hook(site: Site) -> None:
    answered(site.client, "rollout", 200)
    answered(site.client, "confirm-traffic-increase", 200)
    assert ask(site.client, "rollback")[0] == 409
    site.answers(20, "three")
    for hook, status in (
        ("rollback", 200),
        ("rollout", 412),
        ("confirm-traffic-increase", 412),
        ("confirm-promotion", 412),
    ):
        answer = ask(site.client, hook)
        assert answer[0] == status, hook
        assert answer[1].startswith("stop: on live traffic: classify_image: live answers: 100.0 % of the answers to 20")
    assert site.kept == ["a1: promote", "a1: stop"]
    report = site.client.get("/models/triton.json").json()
    assert (report["verdict"], report["live"]["joined"]) == ("stop", 20)
    assert "<h2>Live answers</h2>" in site.client.get("/models/triton").text
    # What comes later changes nothing.
    site.answers(2000, first=100)
    assert ask(site.client, "rollback")[0] == 200


def test_a_promotion_waits_for_copies_of_calls(site: Site) -> None:
    answered(site.client, "rollout", 200)
    answered(site.client, "confirm-traffic-increase", 200)
    site.answers(57)
    assert ask(site.client, "confirm-promotion") == (
        409, "waits for live answers: 57 of 200 calls are answered by both and joined"
    )  # fmt: skip
    site.answers(200, first=57)
    assert ask(site.client, "confirm-promotion") == (200, "promote: samples")
    assert ask(site.client, "rollback")[0] == 409


def test_calls_that_the_canary_alone_answers_once_it_is_promoted_do_not_count(site: Site) -> None:
    answered(site.client, "rollout", 200)
    site.answers(300)
    answered(site.client, "confirm-promotion", 200)
    for number in range(300):
        site.send(CANARY, labelled(f"alone-{number}"))
    site.clock.now += 61
    live = site.client.get("/models/triton.json").json()["live"]
    assert (live["joined"], live["only_canary"], live["joined_percent"]) == (300, 0, 100.0)


def test_copies_that_are_not_joined_leave_the_promotion_undecided(site: Site) -> None:
    answered(site.client, "rollout", 200)
    site.answers(300)
    for number in range(10):
        site.send(PRIMARY, labelled(f"lost-{number}"))
    site.clock.now += 10
    site.answers(1, first=900)
    site.clock.now += 61
    text = answered(site.client, "confirm-promotion", 412)
    assert text.startswith("undecided: 96.8 % of the live calls are joined, wanted 99 %")
    assert ask(site.client, "rollback")[0] == 409


def test_a_new_revision_begins_anew(site: Site) -> None:
    answered(site.client, "rollout", 200)
    site.answers(20, "three")
    assert ask(site.client, "rollback")[0] == 200
    answered(site.client, "confirm-traffic-increase", 200, "b2")
    assert ask(site.client, "rollback", "b2")[0] == 409
    assert ask(site.client, "confirm-promotion", "b2")[1].startswith("waits for live answers: 0 of 200")


def test_after_a_rollout_nothing_is_recorded_and_the_next_one_begins_anew(site: Site) -> None:
    answered(site.client, "confirm-traffic-increase", 200)
    site.answers(100)
    ask(site.client, "post-rollout")
    site.answers(100, "three", first=100)
    answered(site.client, "confirm-traffic-increase", 200)
    assert ask(site.client, "confirm-promotion")[1].startswith("waits for live answers: 0 of 200")


def test_records_of_other_pods_and_before_a_trial_are_left_out(site: Site) -> None:
    site.answers(20, "three")
    answered(site.client, "rollout", 200)
    site.send("gateway-7c9d8f6b5-x2x4z", labelled("a"))
    assert site.client.get("/models/triton.json").json()["live"]["records_of_the_canary"] == 0


def test_without_copies_a_promotion_waits_for_nothing_and_a_step_begins_a_phase() -> None:
    site = Site(wanted=0)
    answered(site.client, "confirm-promotion", 200)
    for number in range(50):
        site.send(PRIMARY, labelled(f"p-{number}"))
        site.send(CANARY, labelled(f"c-{number}"))
    assert ask(site.client, "confirm-traffic-increase")[0] == 200
    site.send(CANARY, labelled("later"))
    kept = site.gate.kept(Canary("models", "triton"))
    assert kept is not None
    assert kept.trial is not None
    assert [phase.labels["canary"].total() for phase in kept.trial._streams["classify_image"].phases] == [50, 1]
    site.gate.close()
