"""A release that testers reach by a header, while all other callers have what is in service."""

import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ai102.parts import Cache
from k8s.local import namespaces
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster.asking import client_network
from tests.cluster.calls.asking import MODEL, Place
from tests.cluster.calls.stack import Stack
from tests.cluster.canary.releasing import Releases, status
from tests.cluster.canary.under_load import led_stack, no_call_fails

OVERLAY = Path(__file__).parent / "ab" / "overlay"
SEEN_WITHIN_S = 300.0
TESTER = {"x-ai102-release": "canary"}
MARK = 'parameters { key: "release" value { string_value: "on trial" } }'


@pytest.fixture(scope="module")
def led(cluster: Plan, programs: Programs, cache: Cache) -> Iterator[Stack]:
    """The canary's overlay with testers, which Flagger has taken over."""
    with led_stack(cluster, programs, cache, OVERLAY) as stack:
        yield stack


def with_mark(repository: Path) -> None:
    """A config that callers can tell from the one in service."""
    config = repository / MODEL / "config.pbtxt"
    config.write_text(f"{config.read_text(encoding='utf-8')}\n{MARK}\n", encoding="utf-8")


def is_on_trial(stack: Stack, place: Place, headers: dict[str, str]) -> bool:
    """Whether a call of the gateway with these headers reaches the release on trial."""

    def ask() -> httpx.Response:
        return httpx.get(
            f"https://{place.host}:{place.rest_port}/v2/models/{MODEL}/config",
            headers={"authorization": f"Bearer {place.token}", **headers},
            verify=ssl.create_default_context(cafile=place.ca_file),
            trust_env=False,
            timeout=10,
        )

    answer = namespaces.inside(client_network(stack.plan), ask)
    assert answer.status_code == 200, answer.text
    return "release" in answer.json().get("parameters", {})


def test_testers_reach_a_release_by_a_header_and_nobody_else_does(led: Stack, tmp_path: Path) -> None:
    releases, place = Releases(led, tmp_path), led.place()
    marked = releases.made("2", with_mark)
    assert not is_on_trial(led, place, TESTER)
    with no_call_fails(led, "a good release with testers"), ThreadPoolExecutor(1) as pool:
        promotion = pool.submit(releases.promotion().promote, marked)
        until(lambda: is_on_trial(led, place, TESTER), "a tester reaches the release on trial", SEEN_WITHIN_S)
        seen = [is_on_trial(led, place, headers) for headers in ({}, TESTER) * 10]
        assert status(led)["phase"] == "Progressing"
        assert seen == [False, True] * 10
        assert promotion.result() == marked
    assert is_on_trial(led, place, {})
