"""Every overlay and component builds, and what it builds holds together."""

import tomllib
from typing import Any

import pytest
import yaml

from ai102 import contract
from ai102.serve.traces import tracing_arguments
from tests.kubernetes.kustomized import (
    COMPONENTS,
    EITHER_OR,
    JOBS,
    OVERLAYS,
    ROOT,
    containers_of,
    images_of,
    in_order,
    kubectl_or_skip,
    manifests_of,
    one,
    overlay,
    overlay_with,
    pod_templates,
    with_components,
)

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
SECRETS = {"gateway-secret", "gateway-certificate", "seal-keys", "jobs-ledger", "jobs-broker", "jobs-callbacks"}
WHOLE = (*OVERLAYS, JOBS)


@pytest.fixture(autouse=True, scope="module")
def _kubectl() -> None:
    kubectl_or_skip()


def selected(labels: dict[str, str], selector: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def policy_selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a pod selector of a NetworkPolicy takes a pod with these labels."""
    return selected(labels, selector.get("matchLabels", {})) and all(
        labels.get(row["key"]) in row["values"] for row in selector.get("matchExpressions", [])
    )


def reachable_by(manifests: list[dict[str, Any]], target: str, port: str, caller: str) -> bool:
    """Whether the ingress policies let a pod of the namespace with the name `caller` reach that port of `target`."""
    policies = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    name = "app.kubernetes.io/name"
    own = [each["spec"] for each in policies if policy_selects(each["spec"]["podSelector"], {name: target})]
    rules = [rule for spec in own if "Ingress" in spec["policyTypes"] for rule in spec.get("ingress", [])]
    return any(
        port in [each["port"] for each in rule.get("ports", [])]
        and ("from" not in rule or any(
            "namespaceSelector" not in peer and policy_selects(peer["podSelector"], {name: caller})
            for peer in rule["from"]
        ))
        for rule in rules
    )  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_every_overlay_builds(name: str) -> None:
    kinds = {manifest["kind"] for manifest in overlay(name)}
    assert {"Namespace", "Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"} <= kinds


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_builds_on_the_base(name: str) -> None:
    deleted = {"canary-blue-green": 1}.get(name, 0)
    assert len(with_components("base", in_order([name]))) >= len(manifests_of(ROOT / "k8s" / "base")) - deleted


@pytest.mark.parametrize("kept", [each for group in EITHER_OR for each in sorted(group)])
def test_all_components_build_together(kept: str) -> None:
    """One of each group: the one that is kept, and the first of the others."""
    chosen = {kept if kept in group else min(group) for group in EITHER_OR}
    left_out = set().union(*EITHER_OR) - chosen
    # What needs a component that is left out goes with it.
    names = [name for name in COMPONENTS if not left_out.intersection(in_order([name]))]
    with_components("base", in_order(names))


@pytest.mark.parametrize("name", WHOLE)
def test_all_that_a_pod_mounts_is_there(name: str) -> None:
    manifests = overlay(name)
    known = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    for owner, template in pod_templates(manifests):
        spec = template["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in known, owner
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for volume in volumes.values():
            if config := volume.get("configMap"):
                assert ("ConfigMap", config["name"]) in known, owner
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in known, owner
            if secret := volume.get("secret"):
                assert secret["secretName"] in SECRETS, owner
        claims = {"data"} if owner.startswith("StatefulSet/") else set()
        mounted = {
            mount["name"] for container in containers_of(template) for mount in container.get("volumeMounts", [])
        }
        assert mounted == set(volumes) | claims, owner


@pytest.mark.parametrize("name", WHOLE)
def test_every_service_finds_pods_with_its_ports(name: str) -> None:
    manifests = overlay(name)
    templates = [template for _, template in pod_templates(manifests)]
    for service in (manifest for manifest in manifests if manifest["kind"] == "Service"):
        found = [each for each in templates if selected(each["metadata"]["labels"], service["spec"]["selector"])]
        assert len(found) == 1, service["metadata"]["name"]
        ports = {port["name"] for container in found[0]["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", WHOLE)
def test_every_container_is_locked_down_and_limited(name: str) -> None:
    for owner, template in pod_templates(overlay(name)):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, owner
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        for container in containers_of(template):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, owner
            assert security["readOnlyRootFilesystem"] is True, owner
            assert security["capabilities"] == {"drop": ["ALL"]}, owner
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][kind]), owner


@pytest.mark.parametrize("name", WHOLE)
def test_one_replica_may_always_leave(name: str) -> None:
    manifests = overlay(name)
    for budget in (manifest for manifest in manifests if manifest["kind"] == "PodDisruptionBudget"):
        if budget["spec"].get("maxUnavailable"):
            continue
        deployment = one(manifests, "Deployment", budget["metadata"]["name"])
        scaled = [each for each in manifests if each["kind"] == "ScaledObject"]
        fewest = deployment["spec"].get("replicas") or scaled[0]["spec"]["minReplicaCount"]
        assert budget["spec"]["minAvailable"] < fewest, budget["metadata"]["name"]


def test_the_images_are_those_of_this_version() -> None:
    names = ("server", "models", "gateway", "api")
    assert images_of(overlay("dev")) == {f"ai102/{name}:{VERSION}" for name in names}


def test_triton_is_reached_by_the_gateway_and_the_quality_gate_alone() -> None:
    manifests = overlay("production")
    callers = ("gateway", "quality-gate", "api", "issuer", "prometheus", "worker", "anybody")
    for port in ("http", "grpc"):
        assert {name for name in callers if reachable_by(manifests, "triton", port, name)} == {
            "gateway",
            "quality-gate",
        }
    assert {name for name in callers if reachable_by(manifests, "triton", "metrics", name)} == {"prometheus"}
    assert {name for name in callers if reachable_by(manifests, "gateway", "internal", name)} == {"api"}
    assert {name for name in callers if reachable_by(manifests, "issuer", "http", name)} == {"gateway", "prometheus"}
    assert not any(reachable_by(manifests, "gateway", "status", name) for name in callers)


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_allowed_that_no_policy_names(name: str) -> None:
    policy = one(overlay(name), "NetworkPolicy", "default-deny")
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_traced_replicas_get_the_arguments_of_ai102_serve() -> None:
    triton = one(with_components("base", ["traces"]), "Deployment", "triton")
    arguments = triton["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == tracing_arguments("http://collector:4318", "$(POD_NAME)")


def test_in_a_mesh_callers_reach_the_gateway_itself_and_its_sidecar_takes_calls_of_triton() -> None:
    manifests = with_components("base", ["mesh"])
    gateway = one(manifests, "Deployment", "gateway")["spec"]["template"]["metadata"]
    triton = one(manifests, "Service", "triton")["spec"]["ports"]
    prefix = "traffic.sidecar.istio.io"
    # Behind a sidecar every caller has an address of loopback, which gateway.toml grants the operator's rights.
    assert gateway["annotations"][f"{prefix}/includeInboundPorts"] == ""
    assert gateway["annotations"][f"{prefix}/includeOutboundIPRanges"] == ""
    assert gateway["annotations"][f"{prefix}/includeOutboundPorts"].split(",") == [
        str(port["port"]) for port in triton if port["name"] in ("http", "grpc")
    ]


def test_in_a_mesh_the_metrics_alone_are_plain() -> None:
    manifests = with_components("base", ["mesh"])
    mtls = one(manifests, "PeerAuthentication", "triton")["spec"]
    (metrics,) = [port for port in one(manifests, "Service", "triton")["spec"]["ports"] if port["name"] == "metrics"]
    assert (mtls["mtls"], mtls["portLevelMtls"]) == ({"mode": "STRICT"}, {str(metrics["port"]): {"mode": "PERMISSIVE"}})
    assert mtls["selector"]["matchLabels"] == one(manifests, "Service", "triton")["spec"]["selector"]


def test_a_gpu_is_one_to_a_replica_in_the_guides_deployment() -> None:
    manifests = overlay_with("production", "gpu")
    spec = one(manifests, "Deployment", "triton")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"] == f"registry.example:5000/ai102/server-gpu:{VERSION}"
    assert one(manifests, "ScaledObject", "triton")["spec"]["minReplicaCount"] == 3


def test_models_are_copied_where_no_image_can_be_a_volume() -> None:
    spec = one(with_components("base", ["model-copy"]), "Deployment", "triton")["spec"]["template"]["spec"]
    images = [container["image"] for container in spec["initContainers"]]
    assert images == [f"ai102/server:{VERSION}", f"ai102/models:{VERSION}"]
    (models,) = [volume for volume in spec["volumes"] if volume["name"] == "models"]
    assert set(models) == {"name", "emptyDir"}


def test_models_of_a_store_are_copied_with_a_login_that_the_server_does_not_see() -> None:
    spec = one(with_components("base", ["model-s3"]), "Deployment", "triton")["spec"]["template"]["spec"]
    (copying,), (server,) = spec["initContainers"], spec["containers"]
    assert (copying["image"], server["image"]) == (f"ai102/server:{VERSION}",) * 2
    mounted = [[mount["name"] for mount in container["volumeMounts"]] for container in (copying, server)]
    assert ["model-storage" in names for names in mounted] == [True, False]
    assert "image" not in next(volume for volume in spec["volumes"] if volume["name"] == "models")


def test_nginx_takes_the_place_of_haproxy_where_a_mesh_balances() -> None:
    manifests = with_components("base", ["mesh", "gateway-nginx"])
    (container,) = one(manifests, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"ai102/gateway-nginx:{VERSION}"


def test_thresholds_count_in_replicas_as_they_were_measured() -> None:
    scaled = one(overlay("production"), "ScaledObject", "triton")["spec"]
    scaling = contract.load(ROOT / "models.toml").scaling
    assert [trigger["metadata"]["threshold"] for trigger in scaled["triggers"]] == [
        f"{scaling.used_percent / 100:g}",
        "1",
    ]
    assert all(trigger["metricType"] == "AverageValue" for trigger in scaled["triggers"])
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (scaling.min_replicas, scaling.max_replicas)
    assert "replicas" not in one(overlay("production"), "Deployment", "triton")["spec"]


def test_an_hpa_without_keda_has_the_same_limits_and_speed() -> None:
    ours = with_components("base", ["hpa-adapter"])
    autoscaler = one(ours, "HorizontalPodAutoscaler", "triton")["spec"]
    scaled = one(overlay("production"), "ScaledObject", "triton")["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (
        scaled["minReplicaCount"],
        scaled["maxReplicaCount"],
    )
    assert autoscaler["behavior"] == scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert autoscaler["scaleTargetRef"]["name"] == scaled["scaleTargetRef"]["name"] == "triton"
    assert {metric["type"] for metric in autoscaler["metrics"]} == {"External"}
    assert "replicas" not in one(ours, "Deployment", "triton")["spec"]


def test_hybrid_keeps_state_on_the_premises_and_lets_replicas_overflow() -> None:
    templates = dict(pod_templates(overlay("hybrid")))
    pool = {"ai102.example/pool": "premises"}
    assert all(templates[f"Deployment/{name}"]["spec"]["nodeSelector"] == pool for name in ("gateway", "issuer", "api"))
    triton = templates["Deployment/triton"]["spec"]
    assert "nodeSelector" not in triton
    assert [row["topologyKey"] for row in triton["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]
    assert "ai102.example/pool" in {toleration["key"] for toleration in triton["tolerations"]}


def test_prometheus_in_the_cluster_has_the_jobs_of_compose() -> None:
    def jobs(path: str) -> set[str]:
        rows = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))["scrape_configs"]
        return {row["job_name"] for row in rows}

    # The nodes' metrics are the cluster's; the collector comes with the component traces.
    missing = jobs("monitoring/prometheus/prometheus.yaml") - jobs("k8s/components/monitoring/prometheus.yaml")
    assert missing == {"node", "collector"}
