"""The overlay `hybrid` on two pools of nodes: two are the premises, the third is the cloud."""

from collections.abc import Iterator

import pytest

from ai102.parts import Cache
from tests.cluster.conftest import note, seconds_until
from tests.cluster.overlays import operators, volumes
from tests.cluster.overlays.calls import caller_of
from tests.cluster.overlays.conftest import thorough
from tests.cluster.overlays.site import OF_TRITON, READY_WITHIN_S, Site

pytestmark = thorough
PREMISES, CLOUD = ("n1", "n2"), "n3"
POOL = "ai102.example/pool"
# Of the 0.67 that a node promises: one replica fits on each.
OF_ONE_NODE = OF_TRITON | {"cpu": "400m"}


@pytest.fixture(scope="module")
def hybrid(site: Site, cache: Cache) -> Iterator[Site]:
    operators.install(site, cache)
    volumes.make(site)
    site.run("label", "nodes", *PREMISES, f"{POOL}=premises", "--overwrite")
    site.run("label", "nodes", CLOUD, f"{POOL}=cloud", "--overwrite")
    site.run("taint", "nodes", CLOUD, f"{POOL}=cloud:NoSchedule", "--overwrite")
    try:
        site.make_namespace()
        site.apply("hybrid", of_triton=OF_ONE_NODE)
        waited_s = seconds_until(
            lambda: not site.unfinished() and len(site.pods("triton")) == 3, "three replicas are ready", READY_WITHIN_S
        )
        note(f"{waited_s:5.1f} s  hybrid: from applied to three replicas in two pools, all pods ready")
        yield site
        site.clear()
    finally:
        site.run("taint", "nodes", CLOUD, f"{POOL}-")
        site.run("label", "nodes", *PREMISES, CLOUD, f"{POOL}-")


def nodes_of(site: Site, name: str) -> list[str]:
    return sorted(pod["spec"]["nodeName"] for pod in site.pods(name))


def test_replicas_overflow_to_the_cloud_once_the_premises_are_full(hybrid: Site) -> None:
    assert nodes_of(hybrid, "triton") == [*PREMISES, CLOUD]


def test_gateways_and_what_keeps_state_stay_on_the_premises(hybrid: Site) -> None:
    assert {node for name in ("gateway", "api", "issuer") for node in nodes_of(hybrid, name)} <= set(PREMISES)


def test_calls_are_answered_by_replicas_of_both_pools(hybrid: Site) -> None:
    caller = caller_of(hybrid)
    for pod in hybrid.pods("triton"):
        address = pod["status"]["podIP"]
        assert any(caller.embed(f"{address} {number}").status == 200 for number in range(3))
