"""Facts from objects as the API gives them."""

from typing import Any

import pytest

from ai102.cluster.facts import Container, Ended, Facts, Metric
from ai102.cluster.objects import facts_from
from ai102.cluster.quantities import number_of, words_of
from ai102.cluster.release import image_from
from tests.cluster import broken


def facts(*items: dict[str, Any]) -> Facts:
    return facts_from(items, namespace="ai102", context="here", now_s=0.0)


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("2", 2.0), ("250m", 0.25), ("2304Mi", 2304 * 2**20), ("1.5Gi", 1.5 * 2**30), ("1e3", 1000.0), ("4k", 4000.0)],
)
def test_a_quantity_is_a_number(quantity: str, number: float) -> None:
    assert number_of(quantity) == number


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="'much' is no quantity"):
        number_of("much")


def test_amounts_have_their_units() -> None:
    amounts = (("cpu", 0.25), ("memory", 2304 * 2**20), ("nvidia.com/gpu", 1.0))
    assert [words_of(*each) for each in amounts] == ["0.25 CPU", "2.25 GiB of memory", "1 nvidia.com/gpu"]


@pytest.mark.parametrize(
    ("reference", "digest", "name", "version", "short"),
    [
        ("ai102/server", "", "ai102/server", "latest", "latest"),
        ("ai102/server:0.2.0", "", "ai102/server", "0.2.0", "0.2.0"),
        ("r.example:5000/ai102/server:1", "", "r.example:5000/ai102/server", "1", "1"),
        ("r.example:1/s@sha256:abcdefabcdefabcd", "", "r.example:1/s", "sha256:abcdefabcdefabcd", "abcdefabcdef"),
        ("s:1", "sha256:0123456789abcdef", "s", "sha256:0123456789abcdef", "0123456789ab"),
    ],
)  # fmt: skip
def test_an_image_is_its_name_and_its_digest_or_tag(
    reference: str, digest: str, name: str, version: str, short: str
) -> None:
    image = image_from(reference, digest)
    assert (image.name, image.version, image.short) == (name, version, short)


def test_a_pod_belongs_to_the_deployment_of_its_replica_set() -> None:
    owner = {"kind": "ReplicaSet", "name": "triton-abc", "controller": True}
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "triton-abc-1", "ownerReferences": [owner], "creationTimestamp": "1970-01-01T00:00:10Z",
            "labels": {"app.kubernetes.io/name": "triton-primary", "pod-template-hash": "abc"},
        },
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "triton", "image": "s@sha256:1", "resources": {
                "requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}}, {"name": "proxy", "resources": {
                    "requests": {"cpu": "100m"}}}],
            "volumes": [{"name": "models", "image": {"reference": "m@sha256:2"}}, {"name": "tmp", "emptyDir": {}}],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{
                "name": "triton", "imageID": "r/s@sha256:1", "restartCount": 2, "started": True, "ready": False,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {
                    "exitCode": 137, "reason": "OOMKilled", "finishedAt": "1970-01-01T00:00:20Z"}},
            }],
        },
    }  # fmt: skip
    replica_set = {
        "kind": "ReplicaSet",
        "metadata": {"name": "triton-abc", "ownerReferences": [{"name": "triton", "controller": True}]},
    }
    event = {
        "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "triton-abc-1"},
        "reason": "BackOff", "message": "again", "eventTime": None, "lastTimestamp": "1970-01-01T00:00:30Z", "count": 4,
    }  # fmt: skip
    (made,) = facts(pod, replica_set, event).pods
    assert (made.workload, made.role, made.node, made.template, made.created_s) == ("triton", "triton", "n1", "abc", 10)
    assert made.asks == {"cpu": 0.35}
    assert made.volumes == ("m@sha256:2",)
    assert [(each.reason, each.at_s, each.count) for each in made.events] == [("BackOff", 30.0, 4)]
    assert made.containers[0] == Container(
        "triton", "s@sha256:1", "sha256:1", False, True, 2, "CrashLoopBackOff", "back-off", None,
        Ended("OOMKilled", 137, 20.0), "1Gi",
    )  # fmt: skip


def test_metrics_of_each_type_are_read() -> None:
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a"},
        "spec": {
            "scaleTargetRef": {"name": "triton"}, "maxReplicas": 12, "minReplicas": 3,
            "metrics": [
                {"type": "External", "external": {"metric": {"name": "s0-prometheus"}, "target": {
                    "type": "AverageValue", "averageValue": "600m"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {
                    "type": "Utilization", "averageUtilization": 70}}},
            ],
        },
        "status": {
            "currentReplicas": 3, "desiredReplicas": 4,
            "currentMetrics": [{"type": "External", "external": {
                "metric": {"name": "s0-prometheus"}, "current": {"averageValue": "750m"}}}, {"type": ""}],
        },
    }  # fmt: skip
    (made,) = facts(scaler).scalers
    assert (made.least, made.most, made.now, made.wanted) == (3, 12, 3, 4)
    assert made.metrics == (Metric("s0-prometheus", "750m", "600m"), Metric("cpu", "", "70 %"))


def test_the_certificate_is_found_beside_its_key_and_the_key_is_not_kept() -> None:
    certificate = facts(broken.certificate(days=10)).certificate
    assert certificate is not None
    assert (certificate.secret, certificate.names) == ("gateway-certificate", ("ai102.example.com",))
    assert "PRIVATE" not in repr(certificate)


def test_a_secret_without_a_certificate_is_none() -> None:
    assert facts({"kind": "Secret", "metadata": {"name": "gateway-certificate"}, "data": {}}).certificate is None
