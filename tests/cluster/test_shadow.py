"""A release that gets copies of the calls: they are joined with those in service, and compared one by one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai102.parts import Cache
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from tests.cluster.asking import pod_network
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.stack import IMAGES, NAMESPACE, Stack
from tests.cluster.canary.releasing import wait_taken_over
from tests.cluster.conftest import note
from tests.cluster.mesh.installing import install
from tests.cluster.mesh.looking import text_from
from tests.cluster.releases.bench import PIPELINES, Bench
from tests.cluster.releases.catalogue import RELEASES, Release
from tests.cluster.releases.trial import Trial
from tests.cluster.releases.ways import OURS
from tests.judging.bad.repository import with_model

OVERLAY = Path(__file__).parent / "shadow" / "overlay"
LENGTH_S = 150.0
HOOKS_PORT = 8095
JOINED_PERCENT = 99.0


@pytest.fixture(scope="module")
def bench(cluster: Plan, programs: Programs, cache: Cache) -> Iterator[Bench]:
    stack = Stack(cluster, programs.kubectl, OVERLAY, (*IMAGES, "quality-gate"), PIPELINES)
    install(stack, cache)
    wait_taken_over(stack)
    with balancing(cluster):
        yield Bench(stack)


def judged(bench: Bench) -> dict[str, Any]:
    """The gate's judgement of the last release, asked in its own pod."""
    (gate,) = bench.stack.ready("quality-gate")
    network = pod_network(bench.stack.plan, gate.name, NAMESPACE)
    judgement: dict[str, Any] = json.loads(text_from(network, "127.0.0.1", HOOKS_PORT, f"/{NAMESPACE}/triton.json"))
    return judgement


def tell(trial: Trial, live: dict[str, Any]) -> None:
    ended_s = trial.stopped_s or trial.promoted_s
    note(
        f"{ended_s or 0:5.1f} s  {trial.release} as a shadow: {trial.failed} of {trial.calls} calls failed, "
        f"{trial.wrong} wrong; {live['joined']} answers joined ({live['joined_percent']} %)"
    )


def test_the_answers_of_a_good_release_are_joined_and_it_is_promoted(bench: Bench) -> None:
    # What is in service at first records nothing before Flagger has copied the setting to it; that is long ago here.
    trial = bench.trial(RELEASES["exported anew"], OURS, length_s=LENGTH_S)
    live = judged(bench)["live"]
    tell(trial, live)
    assert live["joined_percent"] >= JOINED_PERCENT
    assert (trial.failed, trial.wrong) == (0, 0)
    assert trial.promoted_s is not None, judged(bench)["reason"]


def test_a_release_that_answers_callers_alone_wrongly_is_stopped_and_reaches_nobody(bench: Bench) -> None:
    change = with_model("wrong_for_callers")
    release = Release("wrong for callers", False, lambda repository: change(repository / "classify_image"))
    trial = bench.trial(release, OURS, length_s=LENGTH_S)
    judgement = judged(bench)
    tell(trial, judgement["live"])
    assert judgement["verdict"] == "stop"
    assert "on live traffic" in judgement["reason"]
    assert trial.stopped_s is not None
    assert (trial.failed, trial.wrong) == (0, 0)
