"""Releases led by Flagger without a mesh, under load: judged beside what is in service, and then rolled out."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.parts import Cache
from ai102.release.rollout import RefusedError
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from tests.cluster.calls.asking import BARE
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.driving import driven
from tests.cluster.calls.record import row_of
from tests.cluster.calls.stack import IMAGES, Stack
from tests.cluster.canary.releasing import (
    Releases,
    in_service,
    settle,
    status,
    tell,
    wait_taken_over,
    with_another_vocabulary,
)
from tests.cluster.conftest import note
from tests.cluster.mesh.installing import install

OVERLAY = Path(__file__).parent / "blue_green" / "overlay"
RATE = 10.0


@pytest.fixture(scope="module")
def led(cluster: Plan, programs: Programs, cache: Cache) -> Iterator[Stack]:
    """The harness's overlay, which Flagger has taken over."""
    stack = Stack(cluster, programs.kubectl, OVERLAY, (*IMAGES, "quality-gate"))
    install(stack, cache)
    wait_taken_over(stack)
    settle(stack)
    with balancing(cluster):
        yield stack


@pytest.fixture(scope="module")
def releases(led: Stack, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Of what the overlay has, and of others."""
    return Releases(led, tmp_path_factory.mktemp("releases"))


def test_a_good_release_is_judged_and_then_rolled_out_and_no_call_fails(led: Stack, releases: Releases) -> None:
    good = releases.made("2")
    with driven(led.plan, led.place(), client=BARE, rate=RATE) as load:
        began_s = time.monotonic()
        assert releases.promotion().promote(good) == good
        seconds = time.monotonic() - began_s
        row = row_of("a good release, blue/green", load.end(), began_s, RATE)
    tell(row, seconds)
    assert row.failures == {}
    assert in_service(led) == good


def test_a_release_that_answers_wrongly_is_stopped_before_any_call_reaches_it(led: Stack, releases: Releases) -> None:
    settle(led)
    good, bad = in_service(led), releases.made("3", with_another_vocabulary)
    with driven(led.plan, led.place(), client=BARE, rate=RATE) as load:
        began_s = time.monotonic()
        with pytest.raises(RefusedError, match=rf"quality gate says stop: minilm: .*; {good} goes on for all callers"):
            releases.promotion().promote(bad)
        seconds = time.monotonic() - began_s
        row = row_of("a release that answers wrongly, blue/green", load.end(), began_s, RATE)
    tell(row, seconds)
    # An answer that differs from the first one counts as a failure.
    assert row.failures == {}
    assert (status(led)["phase"], in_service(led)) == ("Failed", good)


def test_a_way_back_is_not_judged_and_loses_no_call(led: Stack, releases: Releases) -> None:
    settle(led)
    first = releases.made("1")
    with driven(led.plan, led.place(), client=BARE, rate=RATE) as load:
        began_s = time.monotonic()
        assert releases.promotion().rollback(first) == first
        seconds = time.monotonic() - began_s
        row = row_of("rollback, blue/green", load.end(), began_s, RATE)
    tell(row, seconds)
    note(f"{releases.back_s - began_s:5.1f} s  until all callers had it")
    assert row.failures == {}
    assert in_service(led) == first
