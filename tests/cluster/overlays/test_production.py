"""The overlay `production` with all its pods, scaled by KEDA.

Of cert-manager and the Prometheus operator only the kinds are here: objects are checked and kept, nobody acts on them.
"""

from collections.abc import Iterator

import pytest

from ai102.errors import UserError
from ai102.parts import Cache
from k8s.local.plan import NODES
from k8s.local.waiting import until
from tests.cluster.conftest import note, seconds_until
from tests.cluster.overlays import operators, volumes
from tests.cluster.overlays.calls import Caller, caller_of
from tests.cluster.overlays.site import NAMESPACE, READY_WITHIN_S, Site

AUTOSCALING, KEDA = "apis/autoscaling/v2", "apis/keda.sh/v1alpha1"
MONITORING, CERTIFICATES = "apis/monitoring.coreos.com/v1", "apis/cert-manager.io/v1"


@pytest.fixture(scope="module")
def production(site: Site, cache: Cache) -> Iterator[Site]:
    operators.install(site, cache)
    volumes.make(site)
    site.make_namespace()
    site.apply("production")
    # KEDA alone says how many replicas there are: a Deployment without a number begins with one.
    waited_s = seconds_until(
        lambda: not site.unfinished() and len(site.pods("triton")) == 3, "three replicas are ready", READY_WITHIN_S
    )
    note(f"{waited_s:5.1f} s  production: from applied to three replicas by KEDA, all pods ready")
    yield site
    site.clear()


@pytest.fixture(scope="module")
def caller(production: Site) -> Caller:
    return caller_of(production)


def test_keda_scales_between_the_fewest_and_the_most(production: Site) -> None:
    def is_ready() -> bool:
        (scaled,) = production.items("scaledobjects", group=KEDA)
        return {"type": "Ready", "status": "True"}.items() <= {
            key: row[key] for row in scaled["status"]["conditions"] if row["type"] == "Ready" for key in row
        }.items()

    until(is_ready, "the ScaledObject is ready", 60)
    (scaler,) = production.items("horizontalpodautoscalers", group=AUTOSCALING)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 12)
    assert {row["type"] for row in scaler["spec"]["metrics"]} == {"External"}


def test_the_public_service_waits_for_a_load_balancer_and_answers_at_the_ports_of_nodes(
    production: Site, caller: Caller
) -> None:
    service = production.get(f"/api/v1/namespaces/{NAMESPACE}/services/gateway-public")
    assert service["status"]["loadBalancer"] == {}
    (port,) = [row["nodePort"] for row in service["spec"]["ports"] if row["name"] == "rest"]
    nodes = {pod["spec"]["nodeName"] for pod in production.pods("gateway")}
    for node in NODES:
        if node.name in nodes:  # externalTrafficPolicy is Local
            assert caller.embed(address=node.address, port=port).status == 200


def test_objects_of_operators_that_do_not_run_here_are_kept(production: Site) -> None:
    groups = {"servicemonitors": MONITORING, "prometheusrules": MONITORING, "certificates": CERTIFICATES}
    names = {
        kind: [item["metadata"]["name"] for item in production.items(kind, group=group)]
        for kind, group in groups.items()
    }
    assert names == {
        "servicemonitors": ["replicas", "services"],
        "prometheusrules": ["ai102"],
        "certificates": ["gateway"],
    }


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("certificate", "gateway", '{"spec": {"duration": 5}}'),
        ("servicemonitor", "services", '{"spec": {"endpoints": [{"intervall": "10s"}]}}'),
        ("prometheusrule", "ai102", '{"spec": {"groups": [{"rules": []}]}}'),
    ],
)
def test_a_wrong_object_of_such_a_kind_would_be_refused(production: Site, kind: str, name: str, change: str) -> None:
    options = (f"--namespace={NAMESPACE}", "--type=merge", "--dry-run=server", "--validate=strict")
    with pytest.raises(UserError, match=r"Invalid value|unknown field|Required value"):
        production.run("patch", kind, name, *options, "-p", change)
