"""The overlay `staging` with all its pods: what `private` has, without a login and without logs."""

from collections.abc import Iterator

import pytest

from k8s.local.waiting import until
from tests.cluster.conftest import note, seconds_until
from tests.cluster.overlays import eyes, volumes
from tests.cluster.overlays.calls import caller_of
from tests.cluster.overlays.conftest import thorough
from tests.cluster.overlays.site import NAMESPACE, READY_WITHIN_S, Site

pytestmark = thorough


@pytest.fixture(scope="module")
def staging(watched: Site) -> Iterator[Site]:
    site = watched
    volumes.make(site)
    site.make_namespace()
    site.apply("staging")
    waited_s = seconds_until(lambda: not site.unfinished(), "every pod is ready", READY_WITHIN_S)
    note(f"{waited_s:5.1f} s  staging: from applied to all pods ready")
    yield site
    site.clear()


def test_three_replicas_answer_and_are_seen(staging: Site) -> None:
    assert len(staging.pods("triton")) == 3
    assert caller_of(staging).embed().status == 200
    until(lambda: eyes.targets(staging) == eyes.wanted_targets(staging), "every target is up", 60)


def test_users_and_metrics_lie_in_claims_of_the_storage_class(staging: Site) -> None:
    claims = {item["metadata"]["name"]: item["status"]["phase"] for item in staging.items("persistentvolumeclaims")}
    assert claims == dict.fromkeys(("issuer", "data-prometheus-0", "data-alertmanager-0"), "Bound")


def test_a_user_outlives_the_pod_of_the_issuer(staging: Site) -> None:
    staging.run("delete", "pods", "-l", "app.kubernetes.io/name=issuer", f"--namespace={NAMESPACE}")
    staging.wait_rolled_out()
    auth = ("python3", "-m", "ai102", "auth", "user", "list", "--json")
    assert '"ann"' in staging.run("exec", f"--namespace={NAMESPACE}", "deploy/issuer", "--", *auth)
