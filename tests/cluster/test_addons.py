"""The add-ons in a cluster of their own: use of nodes and pods, queries, and a Deployment that follows a query."""

import json
import time

import pytest

from ai102.errors import UserError
from ai102.parts import Cache, program
from k8s.local import addons, api, images, registry, up
from k8s.local.plan import NODES, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import workload
from tests.cluster.asking import client_network, status_of
from tests.cluster.conftest import note, seconds_until

WITHIN_S = 120.0


@pytest.fixture(scope="module")
def equipped(cluster: Plan, cache: Cache) -> Plan:
    """A cluster with all add-ons but prometheus-adapter, which serves what KEDA serves."""
    wanted = [addon for addon in addons.ADDONS if addon.name != "prometheus-adapter"]
    try:
        for addon in wanted:
            for part, name in addon.programs.values():
                program(part, name, cache=cache)
    except UserError as err:
        pytest.skip(str(err))
    began = time.monotonic()
    up.up(cluster, cache, note, wanted)
    note(f"{time.monotonic() - began:5.1f} s  for all add-ons, in a cluster that is up")
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


def scaled_object(replicas: int) -> dict[str, object]:
    """As many replicas as a constant query says."""
    trigger = {
        "type": "prometheus",
        "metadata": {
            "serverAddress": "http://prometheus.monitoring.svc.cluster.local:9090",
            "query": f"vector({replicas})",
            "threshold": "1",
        },
    }
    spec = {
        "scaleTargetRef": {"name": "answer"},
        "minReplicaCount": 1,
        "maxReplicaCount": 6,
        "pollingInterval": 2,
        "triggers": [trigger],
    }
    metadata = {"name": "answer", "namespace": workload.NAMESPACE}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}
