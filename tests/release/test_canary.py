"""Promote, rollback and abort where Flagger leads the Deployment: they wait for its verdict, and tell its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ai102.errors import UserError
from ai102.release.deployment import Running
from ai102.release.rollout import NotReadyError, RefusedError
from tests.release.documents import release
from tests.release.fake_kubectl import canary, deployment
from tests.release.test_promotion import BASE, MORE, Site

STOPPED = "ai102/triton 7f9c: stop: minilm: distance: embeddings lie 0.31 from those in service\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path, [])
    primary = deployment()
    primary["metadata"]["name"] = "triton-primary"
    template = deployment()["spec"]["template"]
    site.set(canary=canary(), primary=primary, seen=template, passed=template)
    return site


def cluster(site: Site) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(site.file.read_text())
    return state


def in_service(site: Site) -> str:
    annotations = cluster(site)["primary"]["spec"]["template"]["metadata"].get("annotations", {})
    return str(annotations.get("ai102.example/release", ""))


def is_skipping(site: Site) -> bool:
    return bool(cluster(site)["canary"]["spec"]["skipAnalysis"])


def test_a_release_that_passes_is_waited_for_until_it_is_on_all_pods(site: Site) -> None:
    one = site.release("b")
    assert site.promote(one) == one
    assert in_service(site) == one
    assert cluster(site)["canary"]["status"]["phase"] == "Succeeded"
    assert [line for line in site.said if line.startswith(one)] == [
        f"{one}: it is judged, no call goes to it yet",
        f"{one}: it is judged, 25 % of the calls go to it; 1 checks failed",
        f"{one}: it passed, and is rolled out",
    ]
    assert site.rows == [(one, "promoted", "started"), (one, "promoted", "ok")]


def test_a_release_that_the_gate_stops_is_told_with_its_reason(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.set(flagger="refuses", log="ready: http://0.0.0.0:8095\n" + STOPPED)
    with pytest.raises(RefusedError) as refused:
        site.promote(two)
    assert str(refused.value) == (
        f"{two} is refused: the quality gate says stop: minilm: distance: embeddings lie 0.31 from those in service; "
        f"{one} goes on for all callers"
    )
    assert refused.value.exit_status == 5
    assert site.rows[-1] == (two, "promoted", "failed")
    assert in_service(site) == one


def test_what_flagger_warns_of_is_the_reason_where_the_gate_let_it_pass(site: Site) -> None:
    halt = "Halt triton.ai102 advancement percent of failed requests 3.20 > 1"
    events = [
        {"lastTimestamp": "2099-01-01T00:00:02Z", "message": "Canary failed! Scaling down triton.ai102"},
        {"lastTimestamp": "2099-01-01T00:00:01Z", "message": halt},
        {"lastTimestamp": "2026-01-01T00:00:00Z", "message": "of a release before"},
    ]
    site.set(flagger="refuses", log="ai102/triton 7f9c: promote: digits: 0 lost\n", events=events)
    with pytest.raises(RefusedError, match=f"is refused: {halt}; server:0.2.0 models:0.2.0 goes on for all callers"):
        site.promote(site.release("b"))


def test_a_refused_release_is_not_in_service_and_the_next_is_compared_with_what_is(site: Site) -> None:
    one, two, three = site.release("b", models=MORE), site.release("c", models=MORE), site.release("d", models=MORE)
    site.promote(one)
    site.set(flagger="refuses")
    with pytest.raises(RefusedError, match="Flagger does not say why"):
        site.promote(two)
    assert site.promotion().cluster.deployment().running.release == one
    with pytest.raises(UserError, match=f"no rollout goes on: {one} is on all pods"):
        site.promotion().abort()
    site.set(flagger="passes")
    assert site.promote(three) == three
    assert site.store.history.events()[-1].detail["before"] == one
    assert site.promotion().rollback() == one


def test_a_refused_release_may_be_asked_for_again(site: Site) -> None:
    one = site.release("b")
    site.set(flagger="refuses")
    with pytest.raises(RefusedError):
        site.promote(one)
    site.set(flagger="passes")
    assert site.promote(one) == one
    assert in_service(site) == one


def test_a_way_back_is_not_judged_and_the_next_release_is(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.promote(two)
    site.set(flagger="refuses")
    assert site.promotion().rollback() == one
    assert (in_service(site), is_skipping(site)) == (one, False)
    with pytest.raises(RefusedError):
        site.promote(two)


def ended_way_back(site: Site) -> tuple[str, str]:
    """The second release was in service, and Flagger had not followed when the way back to the first one ended."""
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.promote(two)
    site.set(flagger="sleeps")
    with pytest.raises(NotReadyError):
        site.promotion(timeout_s=0.5).rollback()
    return one, two


def test_a_way_back_changes_what_callers_have_before_flagger_follows(site: Site) -> None:
    one, _ = ended_way_back(site)
    assert f"{one}: all callers have it; Flagger follows" in site.said
    assert (in_service(site), is_skipping(site)) == (one, True)
    site.set(flagger="passes")
    assert site.promotion().rollback(one) == one
    assert (in_service(site), is_skipping(site)) == (one, False)


def test_after_a_way_back_that_was_ended_the_release_before_it_is_judged_again(site: Site) -> None:
    one, two = ended_way_back(site)
    # As it was before the Deployment was changed.
    item = cluster(site)["deployment"]
    item["spec"]["template"] = cluster(site)["seen"]
    site.set(deployment=item, flagger="passes")
    assert in_service(site) == one
    assert site.promote(two) == two
    assert (in_service(site), is_skipping(site)) == (two, False)


def test_a_way_back_to_pods_that_do_not_get_ready_is_aborted(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.promote(two)
    site.set(next="crash")
    with pytest.raises(NotReadyError, match=f"{one} is not ready after 0.5 s: 1 of 3 pods are of it"):
        site.promotion(timeout_s=0.5).rollback()
    site.set(next="good")
    assert site.promotion().abort() == two
    assert (in_service(site), is_skipping(site)) == (two, False)


def test_a_promotion_is_judged_although_a_way_back_was_ended(site: Site) -> None:
    one = site.release("b")
    state = cluster(site)
    state["canary"]["spec"]["skipAnalysis"] = True
    site.set(**state, flagger="refuses")
    with pytest.raises(RefusedError):
        site.promote(one)


def test_an_abort_brings_back_what_callers_had(site: Site) -> None:
    one, two = site.release("b"), site.release("c")
    site.promote(one)
    site.set(flagger="sleeps")
    with pytest.raises(NotReadyError, match=f"{two} is not ready after 0.5 s: Flagger has not begun with it yet"):
        site.promote(two, timeout_s=0.5)
    site.set(flagger="passes")
    assert site.promotion().abort() == one
    assert (in_service(site), is_skipping(site)) == (one, False)
    assert site.rows[-1] == (two, "aborted", "ok")


def test_a_promotion_that_was_ended_goes_on_with_the_same_command(site: Site) -> None:
    one = site.release("b")
    site.set(flagger="sleeps")
    with pytest.raises(NotReadyError):
        site.promote(one, timeout_s=0.5)
    site.set(flagger="passes")
    assert site.promote(one) == one
    assert site.patches == 1


def test_a_release_that_passed_and_cannot_be_rolled_out_has_all_calls(site: Site) -> None:
    one = site.release("b")
    site.set(flagger="breaks")
    with pytest.raises(RefusedError, match="it had passed and could not be rolled out: the pods of its trial have all"):
        site.promote(one)
    running = Running(one, *release("b").document.images.model_dump().values())
    assert site.promotion().cluster.deployment().running == running


@pytest.mark.parametrize("phase", ["", "Initializing"])
def test_before_flagger_has_taken_over_nothing_is_done(site: Site, phase: str) -> None:
    item = canary()
    item["status"] = {"phase": phase} if phase else {}
    site.set(canary=item, primary=None)
    with pytest.raises(UserError, match=r"Flagger has not taken Deployment triton over .* says Initialized"):
        site.promote(site.release("b"))
    assert (site.running, site.patches) == (BASE, 0)


def test_a_suspended_canary_is_not_waited_for(site: Site) -> None:
    item = canary()
    item["spec"]["suspend"] = True
    site.set(canary=item)
    with pytest.raises(UserError, match="Canary triton is suspended: `kubectl patch canary triton"):
        site.promote(site.release("b"))


def test_a_canary_of_something_else_leads_nothing(site: Site) -> None:
    item = canary()
    item["spec"]["targetRef"]["name"] = "another"
    site.set(canary=item)
    assert site.promotion().cluster.canary == ""
