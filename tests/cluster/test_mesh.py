"""Overlay dev in Istio: calls are encrypted and balanced one by one, strangers are refused, a rollout loses none."""

import json
import ssl
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

import pytest

from ai102.errors import UserError
from ai102.parts import Cache, program
from k8s.local import addons, api, images, namespaces, registry, up
from k8s.local.plan import CLIENT, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import workload
from tests.cluster.asking import pod_network, status_of
from tests.cluster.conftest import note, seconds_until
from tests.cluster.mesh import stack
from tests.cluster.mesh.kept_channel import MODEL
from tests.cluster.mesh.stack import NAMESPACE, REST_PORT, Stack, kept_channel

ADDONS = ["prometheus", "istio", "flagger"]
# Of the busiest replica's calls to those of the least busy.
MOST_UNEQUAL = 1.15
BALANCED_CALLS = 3000
BALANCED_WITHIN_S = 240.0
EVERY_S = 0.025
APPLIED_WITHIN_S = 60.0
ROLLED_OUT_WITHIN_S = 400.0


@pytest.fixture(scope="module")
def meshed(cluster: Plan, programs: Programs, cache: Cache) -> Stack:
    """The stack in a mesh, ready."""
    chosen = addons.named(ADDONS)
    try:
        for part, name in (source for addon in chosen for source in addon.programs.values()):
            program(part, name, cache=cache)
        program("envoy", cache=cache)
        missing = stack.missing_images()
    except UserError as err:
        pytest.skip(str(err))
    if missing:
        pytest.skip(f"Docker has no {', '.join(missing)}: `make image`")
    began = time.monotonic()
    up.up(cluster, cache, note, chosen)
    note(f"{time.monotonic() - began:5.1f} s  for {', '.join(ADDONS)}, in a cluster that is up")
    installed = Stack(cluster, programs.kubectl)
    began = time.monotonic()
    installed.install()
    note(f"{time.monotonic() - began:5.1f} s  from images in Docker to overlay dev ready in the mesh")
    return installed


@pytest.fixture(scope="module")
def stranger(meshed: Stack, programs: Programs) -> Iterator[str]:
    """A pod outside of the mesh that the NetworkPolicies let ask replicas."""
    (image,) = registry.push(meshed.plan, [images.image_of(programs.pause)])
    pod = workload.pod("stranger", image)
    pod["metadata"] = {
        "name": "stranger",
        "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/name": "quality-gate"},
    }
    api.apply(meshed.plan, programs.kubectl, json.dumps(pod))
    until(lambda: is_ready(meshed, "stranger"), "the stranger is ready", APPLIED_WITHIN_S)
    yield "stranger"
    meshed.kubectl("delete", "pod", "stranger", "--grace-period=1")


def is_ready(meshed: Stack, name: str) -> bool:
    return any(pod.name == name and pod.is_ready for pod in api.pods(meshed.plan, NAMESPACE))


def rest(meshed: Stack, path: str, body: object = None) -> tuple[int, str]:
    """The status and text of the gateway's answer to the client."""
    context = ssl.create_default_context(cafile=str(meshed.ca_file))
    headers = {"Authorization": f"Bearer {meshed.token()}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = Request(f"https://{meshed.host}:{REST_PORT}{path}", content, headers)

    def ask() -> tuple[int, str]:
        try:
            with build_opener(ProxyHandler({}), HTTPSHandler(context=context)).open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as err:
            return err.code, err.read().decode()

    return namespaces.inside(namespaces.path_of(meshed.plan.namespace(CLIENT)), ask)


def mtls(meshed: Stack, mode: str) -> None:
    patch = json.dumps({"spec": {"mtls": {"mode": mode}}})
    meshed.kubectl("patch", "peerauthentication", "triton", "--type=merge", "-p", patch)


def test_replicas_and_gateways_have_sidecars_in_a_restricted_namespace(meshed: Stack) -> None:
    namespace = api.get(meshed.plan, f"/api/v1/namespaces/{NAMESPACE}")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = {
        pod.name: api.get(meshed.plan, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.name}")
        for pod in api.pods(meshed.plan, NAMESPACE)
    }
    with_sidecar = {
        name.rsplit("-", 2)[0]
        for name, pod in pods.items()
        if "istio-proxy" in [each["name"] for each in pod["spec"].get("initContainers", [])]
    }
    assert with_sidecar == {"triton", "gateway"}


def test_rest_and_grpc_are_answered_through_the_gateway(meshed: Stack) -> None:
    status, text = rest(meshed, f"/v2/models/{MODEL}")
    assert (status, json.loads(text)["name"]) == (200, MODEL)
    with kept_channel(meshed.plan, meshed.order(count=20)) as load:
        assert load.outcome(BALANCED_WITHIN_S).failures == []
    assert meshed.handshakes() > 0


def test_the_gateway_sees_who_asks_it(meshed: Stack) -> None:
    rest(meshed, "/v2/models/no-such-model")
    rows = meshed.kubectl("logs", "deploy/gateway", "--all-pods=true", "--container=gateway", "--tail=200")
    addresses = {
        json.loads(row[row.index("{") :])["address"] for row in rows.splitlines() if '"model":"no-such-model"' in row
    }
    assert addresses
    assert not any(address.startswith("127.") for address in addresses)


def test_each_call_of_one_kept_channel_is_balanced(meshed: Stack) -> None:
    before = meshed.inferences()
    with kept_channel(meshed.plan, meshed.order(count=BALANCED_CALLS)) as load:
        outcome = load.outcome(BALANCED_WITHIN_S)
    assert outcome.failures == []
    counts = sorted(count - before[name] for name, count in meshed.inferences().items())
    note(f"        {BALANCED_CALLS} calls over one channel in the mesh: {', '.join(map(str, counts))}")
    assert sum(counts) >= BALANCED_CALLS
    assert counts[-1] <= MOST_UNEQUAL * counts[0]


def test_the_mesh_refuses_who_has_no_certificate_of_it(meshed: Stack, stranger: str) -> None:
    network = pod_network(meshed.plan, stranger, NAMESPACE)
    addresses = [meshed.address_of(pod.name) for pod in meshed.pods("triton")]

    def statuses() -> list[int | None]:
        return [status_of(network, address, 8000, "/v2/health/ready") for address in addresses]

    assert statuses() == [None] * len(addresses)
    mtls(meshed, "PERMISSIVE")
    until(lambda: statuses() == [200] * len(addresses), "replicas answer the stranger", APPLIED_WITHIN_S)
    mtls(meshed, "STRICT")
    waited_s = seconds_until(lambda: statuses() == [None] * len(addresses), "the stranger is refused", APPLIED_WITHIN_S)
    note(f"{waited_s:5.1f} s  from PeerAuthentication STRICT to refused by all replicas")


@pytest.mark.parametrize("deployment", ["triton", "gateway"])
def test_a_rolling_restart_loses_no_call(meshed: Stack, deployment: str) -> None:
    before = {pod.name for pod in meshed.pods(deployment)}
    with kept_channel(meshed.plan, meshed.order(every_s=EVERY_S)) as load:
        meshed.kubectl("rollout", "restart", f"deployment/{deployment}")

        def is_over() -> bool:
            return not before & {pod.name for pod in api.pods(meshed.plan, NAMESPACE)} and meshed.is_ready()

        waited_s = seconds_until(is_over, f"{deployment} is rolled out anew", ROLLED_OUT_WITHIN_S)
        outcome = load.end()
    lost = f"{len(outcome.failures)} of {outcome.calls} calls failed, slowest {outcome.slowest_s:.2f} s"
    note(f"{waited_s:5.1f} s  rolling restart of {deployment} in the mesh: {lost}")
    assert outcome.failures == []


def test_flagger_runs_and_knows_its_kinds(meshed: Stack) -> None:
    kinds = api.get(meshed.plan, "/apis/flagger.app/v1beta1")
    assert {each["kind"] for each in kinds["resources"]} >= {"Canary", "MetricTemplate"}
    assert api.is_rolled_out(meshed.plan, "flagger")
