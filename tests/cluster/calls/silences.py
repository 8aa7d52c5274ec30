"""Scenarios in which something that calls do not need is gone for a minute: DNS, the API server, the issuer."""

from __future__ import annotations

import time

from k8s.local import api, faults
from k8s.local.waiting import until
from tests.cluster.calls.driving import Driven
from tests.cluster.calls.stack import READY_WITHIN_S, Stack

GONE_S = 60.0
DNS = ("deployment/coredns", "--namespace", "kube-system")
DNS_REPLICAS = 2


def without_dns(stack: Stack, load: Driven) -> float:
    began_s = time.monotonic()
    _scale_dns(stack, 0)
    until(lambda: not _dns_pods(stack), "no pod of CoreDNS is left", READY_WITHIN_S)
    load.wait(GONE_S)
    _scale_dns(stack, DNS_REPLICAS)
    until(lambda: sum(pod.is_ready for pod in _dns_pods(stack)) == DNS_REPLICAS, "CoreDNS is ready", READY_WITHIN_S)
    return began_s


def without_control_plane(stack: Stack, load: Driven) -> float:
    """API server, controllers and scheduler stop in the middle of what they do."""
    began_s = time.monotonic()
    faults.inject(stack.plan, "pause-control-plane", "")
    load.wait(GONE_S)
    faults.inject(stack.plan, "resume-control-plane", "")
    until(lambda: api.is_ready(stack.plan), "the API server is ready", READY_WITHIN_S)
    return began_s


def without_issuer(stack: Stack, load: Driven) -> float:
    began_s = time.monotonic()
    stack.kubectl("scale", "deployment/issuer", "--replicas=0")
    until(lambda: not stack.pods("issuer"), "no issuer is left", READY_WITHIN_S)
    load.wait_for_calls()
    return began_s


def bring_issuer_back(stack: Stack) -> None:
    """With new keys and without users: in this overlay its state is gone with its pod."""
    stack.kubectl("scale", "deployment/issuer", "--replicas=1")
    stack.roll_out("issuer")
    stack.add_user()


def _scale_dns(stack: Stack, replicas: int) -> None:
    api.kubectl(stack.plan, stack.kubectl_program, "scale", *DNS, f"--replicas={replicas}")


def _dns_pods(stack: Stack) -> list[api.Pod]:
    return [pod for pod in api.pods(stack.plan, "kube-system") if pod.name.startswith("coredns-")]
