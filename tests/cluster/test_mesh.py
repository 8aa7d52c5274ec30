"""Overlay dev in Istio: calls are encrypted and balanced one by one, strangers are refused, a rollout loses none."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ai102.parts import Cache
from k8s.local import api, images, registry
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import workload
from tests.cluster.asking import pod_network, status_of
from tests.cluster.calls.asking import BARE, GRPC, OURS, WAYS
from tests.cluster.calls.balancer import balancing
from tests.cluster.calls.driving import driven
from tests.cluster.calls.measuring import capacity
from tests.cluster.calls.record import row_of
from tests.cluster.calls.stack import NAMESPACE, Stack
from tests.cluster.conftest import note, seconds_until
from tests.cluster.mesh.installing import install
from tests.cluster.mesh.looking import address_of, handshakes, inferences, retries
from tests.cluster.mesh.refusing import refusing

OVERLAY = Path(__file__).parent / "mesh" / "overlay"
# Alike but for the mesh.
PLAIN, MESHED = (Path(__file__).parent / folder for folder in ("calls/overlay", "mesh/calls"))
QUIET_S = 20.0
# Over one kept channel: the replica with the most calls against the one with the fewest.
BALANCED_CALLS, UNEVEN = 3_000, 1.15
# Calls a second; three replicas of a quarter of a core carry some 60 of these.
BALANCED_RATE, ROLLOUT_RATE = 25.0, 15.0
SHORT_CALLS = 50
APPLIED_WITHIN_S = 60.0
ROLLED_OUT_WITHIN_S = 400.0
# Tries by client, gateway and mesh together for each call, when half of the replicas fail: at first, and later.
REFUSED_RATE, FIRST_S, LATER_S = 15.0, 5.0, 20.0
MOST_TRIES_FIRST, MOST_TRIES_LATER = 1.6, 1.05


@pytest.fixture(scope="module")
def meshed(cluster: Plan, programs: Programs, cache: Cache) -> Iterator[Stack]:
    """Everything of overlay dev in the mesh, with three replicas, ready in the cluster."""
    stack = Stack(cluster, programs.kubectl, OVERLAY)
    install(stack, cache)
    with balancing(cluster):
        yield stack


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
    reaching = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "stranger", "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "quality-gate"}},
            "policyTypes": ["Egress"],
            "egress": [{}],
        },
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [pod, reaching]}
    api.apply(meshed.plan, programs.kubectl, json.dumps(items))
    until(lambda: is_ready(meshed, "stranger"), "the stranger is ready", APPLIED_WITHIN_S)
    yield "stranger"
    meshed.kubectl("delete", "pod/stranger", "networkpolicy/stranger", "--grace-period=1")


def is_ready(meshed: Stack, name: str) -> bool:
    return any(pod.name == name and pod.is_ready for pod in api.pods(meshed.plan, NAMESPACE))


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


def test_rest_and_grpc_are_answered_through_the_gateway_by_mutual_tls(meshed: Stack) -> None:
    with driven(meshed.plan, meshed.place(), client=BARE, rate=ROLLOUT_RATE, least_calls=SHORT_CALLS) as load:
        load.wait_for_calls()
        calls = load.end()
    assert [call for call in calls if call.failure] == []
    assert {call.way for call in calls} == set(WAYS)
    assert handshakes(meshed) > 0


def test_the_gateway_sees_who_asks_it(meshed: Stack) -> None:
    rows = meshed.kubectl("logs", "--selector=app.kubernetes.io/name=gateway", "--container=gateway", "--tail=500")
    calls = [json.loads(row[row.index("{") :]) for row in rows.splitlines() if '"verb":"infer"' in row]
    assert calls
    assert [call["address"] for call in calls if call["address"].startswith("127.")] == []


def test_each_call_of_one_kept_channel_is_balanced(meshed: Stack) -> None:
    before = inferences(meshed)
    place, rate = meshed.place(), BALANCED_RATE
    ways, least = (GRPC,), BALANCED_CALLS
    with driven(meshed.plan, place, client=BARE, ways=ways, clients=1, rate=rate, least_calls=least) as load:
        load.wait_for_calls()
        calls = load.end()
    assert [call.failure for call in calls if call.failure] == []
    counts = sorted(count - before[name] for name, count in inferences(meshed).items())
    note(f"{', '.join(map(str, counts))} of {len(calls)} calls over one channel in the mesh went to each replica")
    assert len(counts) == 3
    assert counts[-1] <= UNEVEN * counts[0]


def test_the_mesh_refuses_who_has_no_certificate_of_it(meshed: Stack, stranger: str) -> None:
    network = pod_network(meshed.plan, stranger, NAMESPACE)
    addresses = [address_of(meshed, pod.name) for pod in meshed.ready("triton")]

    def statuses() -> list[int | None]:
        return [status_of(network, address, 8000, "/v2/health/ready") for address in addresses]

    assert statuses() == [None] * len(addresses)
    mtls(meshed, "PERMISSIVE")
    # Its calls arrive, and have no identity that may ask.
    until(lambda: statuses() == [403] * len(addresses), "replicas hear the stranger", APPLIED_WITHIN_S)
    mtls(meshed, "STRICT")
    waited_s = seconds_until(lambda: statuses() == [None] * len(addresses), "the stranger is refused", APPLIED_WITHIN_S)
    note(f"{waited_s:5.1f} s  from PeerAuthentication STRICT to refused by all replicas")


@pytest.mark.parametrize("deployment", ["triton", "gateway"])
def test_a_rolling_restart_loses_no_call(meshed: Stack, deployment: str) -> None:
    meshed.wait_ready()
    before = {pod.name for pod in meshed.pods(deployment)}
    place = meshed.place()
    with driven(meshed.plan, place, client=BARE, ways=(GRPC,), clients=1, rate=ROLLOUT_RATE) as load:
        began_s = time.monotonic()
        meshed.kubectl("rollout", "restart", f"deployment/{deployment}")

        def is_over() -> bool:
            pods = api.pods(meshed.plan, NAMESPACE)
            return not before & {pod.name for pod in pods} and api.is_rolled_out(meshed.plan, NAMESPACE)

        until(is_over, f"{deployment} is rolled out anew and its old pods are gone", ROLLED_OUT_WITHIN_S, load.check)
        waited_s = time.monotonic() - began_s
        row = row_of(f"rolling restart of {deployment}", load.end(), began_s, ROLLOUT_RATE)
    note(
        f"{waited_s:5.1f} s  {row.scenario} in the mesh, bare tritonclient, one kept channel: "
        f"{row.failed} of {row.calls} calls failed, slowest {row.slowest_s:.2f} s"
    )
    assert row.failures == {}


def test_tries_do_not_multiply_when_half_of_the_replicas_fail(meshed: Stack) -> None:
    meshed.kubectl("scale", "deployment/triton", "--replicas=4")
    meshed.roll_out("triton")
    meshed.wait_ready()
    failing = [pod.name for pod in meshed.ready("triton")][:2]
    with driven(meshed.plan, meshed.place(), client=OURS, ways=(GRPC,), rate=REFUSED_RATE) as load:
        load.wait(FIRST_S)
        with refusing(meshed.plan, failing):
            began_s, counts = time.monotonic(), [retries(meshed)]
            for seconds in (FIRST_S, LATER_S):
                load.wait(seconds)
                counts.append(retries(meshed))
            calls = load.end()
    assert [call.failure for call in calls if call.failure] == []
    tries = []
    spans = ((began_s, began_s + FIRST_S), (began_s + FIRST_S, began_s + FIRST_S + LATER_S))
    for (first_s, last_s), (before, after) in zip(spans, pairwise(counts), strict=True):
        asked = [call.tries for call in calls if first_s <= call.due_s < last_s]
        tries.append((sum(asked) + after - before) / len(asked))
    note(
        f"half of the replicas fail in the mesh: {tries[0]:.2f} tries a call in the first {FIRST_S:g} s, "
        f"{tries[1]:.2f} in the {LATER_S:g} s after; 0 of {len(calls)} calls failed"
    )
    assert tries[0] <= MOST_TRIES_FIRST
    assert tries[1] <= MOST_TRIES_LATER


def test_flagger_runs_and_knows_its_kinds(meshed: Stack) -> None:
    kinds = api.get(meshed.plan, "/apis/flagger.app/v1beta1")
    assert {each["kind"] for each in kinds["resources"]} >= {"Canary", "MetricTemplate"}
    assert api.is_rolled_out(meshed.plan, "flagger")


def test_calls_are_answered_with_and_without_the_mesh_and_its_cost_is_noted(meshed: Stack) -> None:
    """Four replicas each: calls a second of callers that never wait, and latency at a low rate."""
    for name, overlay in (("without", PLAIN), ("in", MESHED), ("without", PLAIN), ("in", MESHED)):
        stack = replace(meshed, overlay=overlay)
        stack.apply()
        stack.roll_out("triton")
        stack.roll_out("gateway")
        rate = capacity(stack)
        with driven(stack.plan, stack.place(), client=BARE, rate=ROLLOUT_RATE) as load:
            load.wait(QUIET_S)
            calls = load.end()
        assert [call.failure for call in calls if call.failure] == []
        latencies = sorted(call.took_s * 1000 for call in calls)
        p50_ms, p99_ms = (latencies[int(share * (len(latencies) - 1))] for share in (0.5, 0.99))
        note(
            f"{name} the mesh: {rate:.0f} calls/s; at {ROLLOUT_RATE:g} calls/s p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms"
        )
