"""The components of a canary: what they give to Flagger, the gate and the mesh fits together."""

import re
from inspect import signature
from typing import Any
from urllib.parse import urlsplit

import pytest

from ai102.cli.judging import judge
from ai102.judging.webhook import HOOKS
from ai102_runtime.recording import address_of
from tests.kubernetes.kustomized import containers_of, in_order, kubectl_or_skip, one, pod_templates, with_components
from tests.kubernetes.test_overlays import reachable_by, selected

MODES = ("canary", "canary-ab", "canary-shadow", "canary-blue-green")
GATE = "http://quality-gate.ai102:8095"


@pytest.fixture(autouse=True, scope="module")
def _kubectl() -> None:
    kubectl_or_skip()


def built(name: str) -> list[dict[str, Any]]:
    return with_components("base", in_order([name]))


def gate(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = one(manifests, "Deployment", "quality-gate")["spec"]["template"]["spec"]
    return spec


def options(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """Of the gate's command."""
    (container,) = gate(manifests)["containers"]
    return dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])


@pytest.mark.parametrize("name", MODES)
def test_flagger_asks_hooks_that_the_gate_has_by_their_kind(name: str) -> None:
    manifests = built(name)
    webhooks = one(manifests, "Canary", "triton")["spec"]["analysis"]["webhooks"]
    assert {hook["url"] for hook in webhooks} == {f"{GATE}/{hook['type']}" for hook in webhooks}
    assert {hook["type"] for hook in webhooks} <= set(HOOKS)
    # A stop ends it, whatever the traffic is, and nothing is promoted that is not judged.
    assert {"rollback", "rollout", "confirm-promotion"} <= {hook["type"] for hook in webhooks}
    service = one(manifests, "Service", "quality-gate")
    assert f"http://{service['metadata']['name']}.ai102:{service['spec']['ports'][0]['port']}" == GATE


def test_no_caller_reaches_a_canary_before_it_is_judged_and_half_of_them_at_most() -> None:
    manifests = built("canary")
    analysis = one(manifests, "Canary", "triton")["spec"]["analysis"]
    assert "confirm-traffic-increase" in [hook["type"] for hook in analysis["webhooks"]]
    assert analysis["stepWeights"] == sorted(analysis["stepWeights"])
    assert analysis["stepWeights"][-1] == 50 == 100 * float(options(manifests)["share"])


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("canary", {"stepWeights"}),
        ("canary-ab", {"iterations", "match"}),
        ("canary-shadow", {"iterations", "mirror", "mirrorWeight"}),
        ("canary-blue-green", {"iterations"}),
    ],
)
def test_the_fields_make_flagger_take_the_mode(name: str, fields: set[str]) -> None:
    analysis = one(built(name), "Canary", "triton")["spec"]["analysis"]
    assert set(analysis) - {"interval", "threshold", "metrics", "webhooks"} == fields


@pytest.mark.parametrize("name", ["canary", "canary-blue-green"])
def test_the_gate_asks_the_two_services_that_flagger_makes(name: str) -> None:
    manifests = built(name)
    spec = one(manifests, "Canary", "triton")["spec"]
    apex = spec["service"].get("name", spec["targetRef"]["name"])
    asked = options(manifests)
    assert (asked["canary"], asked["primary"]) == (f"grpc://{apex}-canary:8001", f"grpc://{apex}-primary:8001")


@pytest.mark.parametrize("name", ["canary", "canary-blue-green"])
def test_flagger_tells_both_sides_apart_by_a_label_that_nothing_else_selects(name: str) -> None:
    manifests = built(name)
    triton = one(manifests, "Deployment", "triton")["spec"]
    labels = triton["template"]["metadata"]["labels"]
    assert triton["selector"] == {"matchLabels": {"app": "triton"}}
    assert labels["app"] == "triton"
    # As Flagger copies it.
    primary = {**labels, "app": "triton-primary"}
    budget = one(manifests, "PodDisruptionBudget", "triton")["spec"]["selector"]["matchLabels"]
    assert (selected(primary, budget), selected(labels, budget)) == (True, False)
    for constraint in triton["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
        assert selected(primary, constraint["labelSelector"]["matchLabels"])
        assert "triton" not in constraint["labelSelector"]["matchLabels"].values()
    policies = [each["spec"]["podSelector"] for each in manifests if each["kind"] == "NetworkPolicy"]
    assert all("app" not in policy.get("matchLabels", {}) for policy in policies)


def test_flagger_alone_asks_the_gate() -> None:
    manifests = built("canary")
    policy = one(manifests, "NetworkPolicy", "quality-gate")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (hooks,) = [rule for rule in policy["ingress"] if {"port": "http"} in rule["ports"]]
    sources = hooks["from"]
    assert all("namespaceSelector" in source for source in sources)
    assert {value for source in sources for value in source["podSelector"]["matchLabels"].values()} == {"flagger"}
    assert not any(reachable_by(manifests, "quality-gate", "http", name) for name in ("gateway", "api", "triton"))


def test_the_gate_is_locked_down_and_limited() -> None:
    spec = gate(built("canary"))
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "quality-gate"
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]["type"]) == (
        True,
        "RuntimeDefault",
    )
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all({"cpu", "memory"} <= set(container["resources"][kind]) for kind in ("requests", "limits"))


def test_in_a_mesh_gateway_and_gate_alone_may_ask_triton() -> None:
    manifests = built("canary")
    policy = one(manifests, "AuthorizationPolicy", "triton")["spec"]
    asked, seen = policy["rules"]
    accounts = {
        template["spec"]["serviceAccountName"]
        for owner, template in pod_templates(manifests)
        if owner in ("Deployment/gateway", "Deployment/quality-gate")
    }
    (source,) = asked["from"]
    assert policy["action"] == "ALLOW"
    assert set(source["source"]["principals"]) == {f"cluster.local/ns/ai102/sa/{name}" for name in accounts}
    ports = {port["name"]: str(port["port"]) for port in one(manifests, "Service", "triton")["spec"]["ports"]}
    assert asked["to"] == [{"operation": {"ports": [ports["http"], ports["grpc"]]}}]
    assert seen == {"to": [{"operation": {"ports": [ports["metrics"]]}}]}
    assert selected(
        one(manifests, "Deployment", "triton")["spec"]["template"]["metadata"]["labels"],
        policy["selector"]["matchLabels"],
    )


def test_both_sides_are_called_as_triton_is_in_the_mesh() -> None:
    manifests, mesh = built("canary"), built("mesh")
    rules = [one(manifests, "DestinationRule", f"triton-{side}-of-ai102")["spec"] for side in ("primary", "canary")]
    policy = one(mesh, "DestinationRule", "triton")["spec"]["trafficPolicy"]
    assert [rule["trafficPolicy"] for rule in rules] == [policy, policy]
    assert policy["tls"] == {"mode": "ISTIO_MUTUAL"}
    callers = [template["metadata"]["labels"] for owner, template in pod_templates(manifests)]
    assert all(selected(labels, rules[0]["workloadSelector"]["matchLabels"]) for labels in callers)
    (route,) = one(mesh, "VirtualService", "triton")["spec"]["http"]
    assert one(manifests, "Canary", "triton")["spec"]["service"]["retries"] == route["retries"]
    # What the gate asks is tried once; the route of callers, with the weights, is Flagger's.
    routes = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "VirtualService"}
    assert set(routes) == {"triton-primary-once", "triton-canary-once"}
    assert all(route["retries"] == {"attempts": 0} for spec in routes.values() for route in spec["http"])
    assert {host for spec in routes.values() for host in spec["hosts"]} == {rule["host"] for rule in rules}


def environment(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """Of Triton's container."""
    (container,) = one(manifests, "Deployment", "triton")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_triton_sends_records_of_live_answers_where_the_gate_takes_them() -> None:
    manifests = built("canary")
    url = urlsplit(environment(manifests)["AI102_ANSWERS_URL"])
    service = one(manifests, "Service", str(url.hostname))["spec"]
    (port,) = [each for each in service["ports"] if each["port"] == url.port]
    (container,) = gate(manifests)["containers"]
    taken = {each["name"]: each["containerPort"] for each in container["ports"]}[port["targetPort"]]
    assert (url.path, options(manifests)["answers"]) == ("/answers", f"0.0.0.0:{taken}")
    assert address_of(url.geturl()) == ("quality-gate:8096", "/answers")
    # By name, and by the identities of the mesh.
    callers = ("triton", "gateway", "api", "issuer", "prometheus")
    assert {name for name in callers if reachable_by(manifests, "quality-gate", "answers", name)} == {"triton"}
    (rule,) = one(manifests, "NetworkPolicy", "answers")["spec"]["egress"]
    assert rule == {
        "to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "quality-gate"}}}],
        "ports": [{"port": "answers"}],
    }
    (allowed,) = one(manifests, "AuthorizationPolicy", "quality-gate")["spec"]["rules"]
    account = one(manifests, "Deployment", "triton")["spec"]["template"]["spec"]["serviceAccountName"]
    assert allowed["from"] == [{"source": {"principals": [f"cluster.local/ns/ai102/sa/{account}"]}}]
    assert allowed["to"] == [{"operation": {"ports": [str(taken)], "methods": ["POST"], "paths": [url.path]}}]
    assert one(manifests, "PeerAuthentication", "quality-gate")["spec"]["mtls"] == {"mode": "STRICT"}


@pytest.mark.parametrize(
    ("name", "is_recorded", "joined"),
    [
        ("canary", True, None),
        ("canary-shadow", True, "200"),
        ("canary-ab", False, None),
        ("canary-blue-green", False, None),
    ],
)
def test_live_answers_are_recorded_where_both_sides_get_a_random_part_or_all(
    name: str, is_recorded: bool, joined: str | None
) -> None:
    manifests = built(name)
    assert ("AI102_ANSWERS_URL" in environment(manifests)) is is_recorded
    assert options(manifests).get("joined") == joined
    assert "AI102_TRITON_ARGUMENTS" in environment(manifests)


@pytest.mark.parametrize("name", ["quality-gate", "canary", "canary-shadow"])
def test_the_gate_understands_its_options(name: str) -> None:
    known = signature(judge).parameters
    assert options(with_components("base", in_order([name]))).keys() <= known.keys()


def test_the_gates_sidecar_takes_its_calls_of_triton_and_the_records_alone() -> None:
    metadata = one(built("canary"), "Deployment", "quality-gate")["spec"]["template"]["metadata"]
    prefix = "traffic.sidecar.istio.io"
    assert metadata["labels"]["sidecar.istio.io/inject"] == "true"
    assert metadata["annotations"][f"{prefix}/includeInboundPorts"] == "8096"
    assert metadata["annotations"][f"{prefix}/includeOutboundIPRanges"] == ""
    assert metadata["annotations"][f"{prefix}/includeOutboundPorts"] == "8001"
    policy = one(built("canary"), "DestinationRule", "quality-gate")["spec"]["trafficPolicy"]["portLevelSettings"]
    # Not by Istio's automatic choice, which a mesh may have switched off.
    assert {each["port"]["number"]: each["tls"]["mode"] for each in policy} == {8095: "DISABLE", 8096: "ISTIO_MUTUAL"}


@pytest.mark.parametrize(
    ("pod", "is_the_canarys"),
    [("triton-7c9d8f6b5-x2x4z", True), ("triton-primary-7c9d8f6b5-x2x4z", False), ("gateway-7c9d8f6b5-x2x4z", False)],
)
def test_the_metric_counts_the_canarys_pods(pod: str, is_the_canarys: bool) -> None:
    query = one(built("canary"), "MetricTemplate", "failures")["spec"]["query"]
    patterns = {text.replace("{{ target }}", "triton") for text in re.findall(r'pod=~"([^"]+)"', query)}
    assert len(patterns) == 1
    # Prometheus anchors at both ends.
    assert bool(re.fullmatch(patterns.pop(), pod)) is is_the_canarys


def test_the_gateway_finds_no_pod_on_trial_without_a_mesh() -> None:
    """Flagger makes the Service whose records it reads, of the pods in service."""
    manifests = built("canary-blue-green")
    services = {each["metadata"]["name"] for each in manifests if each["kind"] == "Service"}
    canary = one(manifests, "Canary", "triton")["spec"]["service"]
    assert "triton-replicas" not in services
    assert (canary["name"], canary["headless"], canary["portDiscovery"]) == ("triton-replicas", True, True)


def test_flagger_scales_what_keda_scaled() -> None:
    manifests = built("canary-keda")
    reference = one(manifests, "Canary", "triton")["spec"]["autoscalerRef"]
    assert one(manifests, reference["kind"], reference["name"])["apiVersion"] == reference["apiVersion"]


def test_every_image_of_a_canary_is_pinned_by_an_overlay() -> None:
    for _, template in pod_templates(built("canary")):
        for container in containers_of(template):
            assert re.fullmatch(r"ai102/[a-z-]+:\d+\.\d+\.\d+", container["image"])
