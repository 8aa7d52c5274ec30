"""Releases led by Flagger in a mesh, under load: a good one is promoted, one that answers wrongly reaches no caller."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import Cache
from ai102.release.rollout import RefusedError
from k8s.local import api, images, registry
from k8s.local.plan import Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import workload
from tests.cluster.asking import pod_network, status_of
from tests.cluster.calls.asking import BARE
from tests.cluster.calls.driving import driven
from tests.cluster.calls.stack import NAMESPACE, Stack
from tests.cluster.canary.releasing import (
    Releases,
    in_service,
    settle,
    share_in,
    status,
    weights,
    with_another_vocabulary,
)
from tests.cluster.canary.under_load import RATE, led_stack, no_call_fails
from tests.cluster.conftest import note

OVERLAY = Path(__file__).parent / "canary" / "overlay"
APPLIED_WITHIN_S = 60.0
ALL_TO_PRIMARY = {"triton-primary": 100, "triton-canary": 0}


@pytest.fixture(scope="module")
def led(cluster: Plan, programs: Programs, cache: Cache) -> Iterator[Stack]:
    """The mesh's overlay with a canary, which Flagger has taken over."""
    with led_stack(cluster, programs, cache, OVERLAY) as stack:
        yield stack


@pytest.fixture(scope="module")
def releases(led: Stack, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Of what the overlay has, and of others."""
    return Releases(led, tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def insider(led: Stack, programs: Programs) -> Iterator[str]:
    """A pod of the mesh with another identity, which NetworkPolicies let ask replicas."""
    (image,) = registry.push(led.plan, [images.image_of(programs.pause)])
    pod = workload.pod("insider", image)
    labels = {
        "app.kubernetes.io/name": "insider",
        "app.kubernetes.io/part-of": "ai102",
        "sidecar.istio.io/inject": "true",
    }
    annotations = {"sidecar.istio.io/nativeSidecar": "true"}
    pod["metadata"] = {"name": "insider", "namespace": NAMESPACE, "labels": labels, "annotations": annotations}
    # Of the pod, for the sidecar as well: the namespace is restricted.
    pod["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    items = [pod, *friendly_policies()]
    api.apply(led.plan, programs.kubectl, json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    until(lambda: any(each.name == "insider" and each.is_ready for each in api.pods(led.plan, NAMESPACE)),
          "the insider is ready", APPLIED_WITHIN_S)  # fmt: skip
    yield "insider"
    led.kubectl("delete", "pod/insider", "networkpolicy/insider", "networkpolicy/of-insider", "--grace-period=1")


def friendly_policies() -> list[dict[str, object]]:
    """The insider reaches everybody, and Triton lets it in."""
    insider, triton = ({"matchLabels": {"app.kubernetes.io/name": name}} for name in ("insider", "triton"))
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    specs = {
        "insider": {"podSelector": insider, "policyTypes": ["Egress"], "egress": [{}]},
        "of-insider": {
            "podSelector": triton, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": insider}]}],
        },
    }  # fmt: skip
    return [{**kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec} for name, spec in specs.items()]


def shares(said: list[str]) -> list[int]:
    """Percent of the calls that a canary got, one after the other, as `promote` printed them."""
    return list(dict.fromkeys(filter(None, map(share_in, said))))


def test_flagger_has_taken_triton_over_and_calls_are_answered(led: Stack) -> None:
    assert weights(led) == ALL_TO_PRIMARY
    with driven(led.plan, led.place(), client=BARE, rate=RATE, least_calls=50) as load:
        load.wait_for_calls()
        assert [call.failure for call in load.end() if call.failure] == []


def test_a_good_release_gets_its_calls_in_steps_and_no_call_fails(led: Stack, releases: Releases) -> None:
    good = releases.made("2")
    with no_call_fails(led, "a good release by a canary"):
        assert releases.promotion().promote(good) == good
    assert shares(releases.said) == [10, 25, 50]
    # Of callers: the gate had ended before.
    assert releases.answered[10] < releases.answered[25] < releases.answered[50]
    assert (in_service(led), weights(led)) == (good, ALL_TO_PRIMARY)


def test_a_release_that_answers_wrongly_is_stopped_before_any_call_reaches_it(led: Stack, releases: Releases) -> None:
    settle(led)
    good, bad = in_service(led), releases.made("3", with_another_vocabulary)
    releases.said.clear()
    with (
        no_call_fails(led, "a release that answers wrongly"),
        pytest.raises(RefusedError, match=rf"the quality gate says stop: minilm: .*; {good} goes on for all callers"),
    ):
        releases.promotion().promote(bad)
    assert shares(releases.said) == []
    assert status(led)["phase"] == "Failed"
    assert (in_service(led), weights(led)) == (good, ALL_TO_PRIMARY)


def test_a_way_back_is_not_judged_and_loses_no_call(led: Stack, releases: Releases) -> None:
    settle(led)
    first = releases.made("1")
    with no_call_fails(led, "rollback with a canary") as began_s:
        assert releases.promotion().rollback(first) == first
    note(f"{releases.back_s - began_s:5.1f} s  until all callers had it")
    assert began_s < releases.back_s
    assert in_service(led) == first
    item = api.get(led.plan, f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/triton")
    assert item["spec"]["skipAnalysis"] is False


def test_another_identity_of_the_mesh_may_not_ask_triton(led: Stack, insider: str) -> None:
    network = pod_network(led.plan, insider, NAMESPACE)
    service = api.get(led.plan, f"/api/v1/namespaces/{NAMESPACE}/services/triton-primary")
    address = service["spec"]["clusterIP"]

    def answers(wanted: int) -> None:
        until(lambda: status_of(network, address, 8000, "/v2/health/ready") == wanted,
              f"the insider gets {wanted}", APPLIED_WITHIN_S)  # fmt: skip

    def allow(operation: str) -> None:
        path = "/spec/rules/0/from/0/source/principals/2"
        value = {"value": "cluster.local/ns/ai102/sa/default"} if operation == "add" else {}
        patch = json.dumps([{"op": operation, "path": path, **value}])
        led.kubectl("patch", "authorizationpolicy/triton", "--type=json", "-p", patch)

    answers(403)
    allow("add")
    answers(200)
    allow("remove")
    answers(403)


# As the namespace's Pod Security wants it, so that the tag alone is refused.
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_a_pod_whose_image_has_a_tag_is_refused(led: Stack) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tagged", "namespace": NAMESPACE},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "tagged", "image": "ai102/server:latest", "securityContext": RESTRICTED}],
        },
    }
    with pytest.raises(UserError, match=r"run images by digest alone .*, not ai102/server:latest"):
        api.apply(led.plan, led.kubectl_program, json.dumps(pod))
