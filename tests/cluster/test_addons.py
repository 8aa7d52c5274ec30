"""The add-ons in a cluster of their own: use of nodes and pods, queries, and a Deployment that follows a query."""

import json
import time

import pytest

from ai102.errors import UserError
from ai102.parts import Cache
from k8s.local import api, images, registry, up
from k8s.local.plan import NODES, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import workload
from tests.cluster.asking import client_network, status_of
from tests.cluster.conftest import addons_or_skip, note, seconds_until
from tests.cluster.states import findings

WITHIN_S = 120.0
# Those of a mesh have tests of their own.
CHOSEN = ["metrics-server", "kube-state-metrics", "prometheus", "keda"]


@pytest.fixture(scope="module")
def equipped(cluster: Plan, cache: Cache) -> Plan:
    """A cluster with the add-ons."""
    chosen = addons_or_skip(CHOSEN, cache)
    began = time.monotonic()
    up.up(cluster, cache, note, chosen)
    note(f"{time.monotonic() - began:5.1f} s  for these add-ons, in a cluster that is up")
    return cluster


def test_the_use_of_every_node_is_known(equipped: Plan, programs: Programs) -> None:
    def rows() -> list[str]:
        try:
            return api.kubectl(equipped, programs.kubectl, "top", "nodes", "--no-headers").splitlines()
        except UserError:  # no sample yet
            return []

    until(lambda: len(rows()) == len(NODES), "the use of every node is known", WITHIN_S)


def test_prometheus_answers_the_client(equipped: Plan) -> None:
    (pod,) = api.get(equipped, "/api/v1/namespaces/monitoring/pods")["items"]
    assert status_of(client_network(equipped), pod["status"]["podIP"], 9090, "/-/ready") == 200


def test_a_deployment_follows_a_query(equipped: Plan, programs: Programs) -> None:
    names = registry.push(equipped, [images.image_of(path) for path in (programs.coredns, programs.pause)])
    api.apply(equipped, programs.kubectl, workload.manifests(*names))
    api.apply(equipped, programs.kubectl, json.dumps(scaled_object(replicas=4)))

    def ready() -> int:
        deployment = api.get(equipped, f"/apis/apps/v1/namespaces/{workload.NAMESPACE}/deployments/answer")
        return int(deployment["status"].get("readyReplicas", 0))

    waited_s = seconds_until(lambda: ready() == 4, "four replicas are ready", WITHIN_S)
    note(f"{waited_s:5.1f} s  from ScaledObject to 4 ready replicas")


def test_the_status_names_a_scaler_whose_prometheus_does_not_answer(equipped: Plan, programs: Programs) -> None:
    silent = scaled_object(replicas=4, prometheus="http://nobody.monitoring.svc.cluster.local:9090")
    api.apply(equipped, programs.kubectl, json.dumps(silent))

    def is_named() -> bool:
        said = findings(equipped, workload.NAMESPACE)
        return ("scaling_has_no_figures", "scaledobject answer") in said

    until(is_named, "the status names it", WITHIN_S)


def scaled_object(
    replicas: int, prometheus: str = "http://prometheus.monitoring.svc.cluster.local:9090"
) -> dict[str, object]:
    """As many replicas as a constant query says; two where nobody answers it."""
    trigger = {
        "type": "prometheus",
        "metadata": {
            "serverAddress": prometheus,
            "query": f"vector({replicas})",
            "threshold": "1",
        },
        "metricType": "AverageValue",
    }
    spec = {
        "scaleTargetRef": {"name": "answer"},
        "minReplicaCount": 1,
        "maxReplicaCount": 6,
        "pollingInterval": 2,
        "fallback": {"failureThreshold": 1, "replicas": 2},
        "triggers": [trigger],
    }
    metadata = {"name": "answer", "namespace": workload.NAMESPACE}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}
