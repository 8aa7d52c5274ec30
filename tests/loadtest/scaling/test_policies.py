"""Each policy is a kustomization that builds, with one thing that decides on the replicas."""

from pathlib import Path
from typing import Any

import pytest

from ai102.errors import UserError
from ai102.kubernetes.scaling import Thresholds
from loadtest.scaling import policies
from loadtest.scaling.policies import Policy, Setting, policy_named
from tests.kubernetes.kustomized import manifests_of, one

SETTING = Setting(Thresholds(1, 4, 0.12, 0.8), 250, 250, ("embed_text",), 30, 10)


@pytest.mark.parametrize(
    ("text", "policy"),
    [("keda", Policy("keda")), ("cpu", Policy("cpu")), ("fixed:3", Policy("fixed", 3))],
)
def test_a_policy_has_a_name(text: str, policy: Policy) -> None:
    assert policy_named(text) == policy
    assert str(policy) == text


@pytest.mark.parametrize("text", ["", "hpa", "fixed", "fixed:", "fixed:x", "keda:2"])
def test_another_name_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"write keda, hpa-adapter, cpu or fixed:N"):
        policy_named(text)


def built(policy: str, folder: Path) -> list[dict[str, Any]]:
    return manifests_of(policies.write(policy_named(policy), SETTING, folder))


@pytest.mark.parametrize(("policy", "kind"), [("keda", "ScaledObject"), ("hpa-adapter", "HorizontalPodAutoscaler")])
def test_ours_scale_by_work_within_the_limits(policy: str, kind: str, tmp_path: Path) -> None:
    manifests = built(policy, tmp_path)
    assert "replicas" not in one(manifests, "Deployment", "triton")["spec"]
    spec = one(manifests, kind, "triton")["spec"]
    if policy == "keda":
        assert [trigger["metadata"]["threshold"] for trigger in spec["triggers"]] == ["0.12", "0.8"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 4)
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    else:
        assert [row["external"]["target"]["averageValue"] for row in spec["metrics"]] == ["0.12", "0.8"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
        behavior = spec["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 30
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0


def test_the_guides_scales_by_processor_and_a_fixed_size_by_nothing(tmp_path: Path) -> None:
    (metric,) = one(built("cpu", tmp_path), "HorizontalPodAutoscaler", "triton")["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    fixed = built("fixed:3", tmp_path)
    assert {manifest["kind"] for manifest in fixed} & {"ScaledObject", "HorizontalPodAutoscaler"} == set()
    deployment = one(fixed, "Deployment", "triton")["spec"]
    assert deployment["replicas"] == 3
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["cpu"] == "250m"
    environment = {row["name"]: row["value"] for row in container["env"]}
    assert environment["AI102_TRITON_ARGUMENTS"] == "--model-control-mode=explicit --load-model=embed_text"
