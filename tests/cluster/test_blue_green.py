"""Releases led by Flagger without a mesh, under load: judged beside what is in service, and then rolled out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.parts import Cache
from ai102.release.rollout import RefusedError
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from tests.cluster.calls.stack import Stack
from tests.cluster.canary.releasing import (
    Releases,
    in_service,
    settle,
    status,
    with_another_vocabulary,
)
from tests.cluster.canary.under_load import led_stack, no_call_fails
from tests.cluster.conftest import note

OVERLAY = Path(__file__).parent / "blue_green" / "overlay"


@pytest.fixture(scope="module")
def led(cluster: Plan, programs: Programs, cache: Cache) -> Iterator[Stack]:
    """The harness's overlay, which Flagger has taken over."""
    with led_stack(cluster, programs, cache, OVERLAY) as stack:
        yield stack


@pytest.fixture(scope="module")
def releases(led: Stack, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Of what the overlay has, and of others."""
    return Releases(led, tmp_path_factory.mktemp("releases"))


def test_a_good_release_is_judged_and_then_rolled_out_and_no_call_fails(led: Stack, releases: Releases) -> None:
    good = releases.made("2")
    with no_call_fails(led, "a good release, blue/green"):
        assert releases.promotion().promote(good) == good
    assert in_service(led) == good


def test_a_release_that_answers_wrongly_is_stopped_before_any_call_reaches_it(led: Stack, releases: Releases) -> None:
    settle(led)
    good, bad = in_service(led), releases.made("3", with_another_vocabulary)
    with (
        no_call_fails(led, "a release that answers wrongly, blue/green"),
        pytest.raises(RefusedError, match=rf"quality gate says stop: minilm: .*; {good} goes on for all callers"),
    ):
        releases.promotion().promote(bad)
    assert (status(led)["phase"], in_service(led)) == ("Failed", good)


def test_a_way_back_is_not_judged_and_loses_no_call(led: Stack, releases: Releases) -> None:
    settle(led)
    first = releases.made("1")
    with no_call_fails(led, "rollback, blue/green") as began_s:
        assert releases.promotion().rollback(first) == first
    note(f"{releases.back_s - began_s:5.1f} s  until all callers had it")
    assert in_service(led) == first
