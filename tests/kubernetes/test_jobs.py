"""The component jobs: who reaches what, and what a pod starts and ends with."""

import pytest

from tests.kubernetes.kustomized import (
    JOBS,
    containers_of,
    kubectl_or_skip,
    one,
    overlay,
    pod_templates,
    with_components,
)
from tests.kubernetes.test_overlays import reachable_by

CALLERS = ("gateway", "quality-gate", "api", "issuer", "prometheus", "worker", "redis", "postgresql", "anybody")


@pytest.fixture(autouse=True, scope="module")
def _kubectl() -> None:
    kubectl_or_skip()


@pytest.mark.parametrize(
    ("target", "port", "callers"),
    [
        ("redis", "redis", {"api", "worker"}),
        ("postgresql", "postgresql", {"api", "worker"}),
        ("gateway", "internal", {"api", "worker"}),
        ("gateway", "metrics", {"prometheus", "worker"}),
        ("worker", "metrics", {"prometheus"}),
        ("worker", "daprd", set()),
    ],
)
def test_who_reaches_what(target: str, port: str, callers: set[str]) -> None:
    assert {name for name in CALLERS if reachable_by(overlay(JOBS), target, port, name)} == callers


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_sidecar_ends_after_the_program_beside_it(name: str) -> None:
    """A plain container of the pod would end at once with it."""
    template = one(overlay(JOBS), "Deployment", name)["spec"]["template"]
    (sidecar,) = template["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("daprd", "Always")
    assert "--dapr-listen-addresses=127.0.0.1" in sidecar["command"]


def test_no_password_is_in_a_pods_environment_or_arguments() -> None:
    """They are files: who may look at pods may not read Secrets."""
    for owner, template in pod_templates(overlay(JOBS)):
        for container in containers_of(template):
            assert all("secretKeyRef" not in row.get("valueFrom", {}) for row in container.get("env", [])), owner
            assert not any("requirepass" in word for word in container.get("args", [])), owner


def test_what_the_broker_needs_is_not_given_to_the_ledgers_pod_nor_the_other_way_round() -> None:
    secrets = {
        owner: {row["secret"]["secretName"] for row in template["spec"].get("volumes", []) if "secret" in row}
        for owner, template in pod_templates(overlay(JOBS))
    }
    assert secrets["StatefulSet/redis"] == {"jobs-broker"}
    assert secrets["StatefulSet/postgresql"] == {"jobs-ledger"}
    assert secrets["Deployment/api"] == {"jobs-broker", "jobs-ledger"}
    assert secrets["Deployment/worker"] == {"jobs-broker", "jobs-ledger", "jobs-callbacks"}


def test_callbacks_leave_for_public_addresses_alone() -> None:
    egress = one(overlay(JOBS), "NetworkPolicy", "worker")["spec"]["egress"]
    (blocks,) = [rule["to"] for rule in egress if any("ipBlock" in peer for peer in rule["to"])]
    excepted = blocks[0]["ipBlock"]["except"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"} <= set(excepted)


def test_workers_are_added_by_the_age_of_the_oldest_job_and_one_stays() -> None:
    manifests = overlay(JOBS)
    scaled = one(manifests, "ScaledObject", "worker")["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metricType"] == "Value"
    assert "ai102_jobs_oldest_queued_seconds" in trigger["metadata"]["query"]
    assert scaled["minReplicaCount"] == 1
    assert "replicas" not in one(manifests, "Deployment", "worker")["spec"]


def test_a_worker_is_traced_where_the_others_are() -> None:
    manifests = with_components("base", ["jobs", "traces"])
    for name in ("api", "worker"):
        container = one(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        assert "--traces=http://collector:4318" in container["args"]
    assert reachable_by(manifests, "collector", "otlp-http", "worker")
