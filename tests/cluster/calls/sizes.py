"""Scenarios in which there are fewer or more replicas, or another node has them."""

from __future__ import annotations

import time

from k8s.local.plan import NODES
from k8s.local.waiting import until
from tests.cluster.calls.driving import Driven
from tests.cluster.calls.stack import ROLLED_OUT_WITHIN_S, Stack

REPLICAS = 4
DRAINED_WITHIN_S = 400.0


def scale_down(stack: Stack) -> None:
    scale(stack, 1)


def scale_up_and_down(stack: Stack, load: Driven) -> float:
    """From one replica with its load to four with theirs, and back."""
    small = load.rate
    began_s = time.monotonic()
    scale(stack, REPLICAS)
    load.set_rate(REPLICAS * small)
    load.wait_for_calls()
    load.set_rate(small)
    scale(stack, 1)
    return began_s


def scale(stack: Stack, replicas: int) -> None:
    stack.kubectl("scale", "deployment/triton", f"--replicas={replicas}")
    until(
        lambda: len(stack.pods("triton")) == len(stack.ready("triton")) == replicas and not stack.ending("triton"),
        f"there are {replicas} replicas, all ready",
        ROLLED_OUT_WITHIN_S,
    )


def scale_back(stack: Stack) -> None:
    scale(stack, REPLICAS)


def drain(stack: Stack, load: Driven) -> float:
    """A node without the issuer: in this overlay the users are gone with the issuer's pod."""
    node = stack.node_without("issuer")
    began_s = time.monotonic()
    stack.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAINED_WITHIN_S:g}s")
    until(lambda: len(stack.ready("triton")) == REPLICAS, "the replicas are ready elsewhere", ROLLED_OUT_WITHIN_S)
    return began_s


def open_nodes(stack: Stack) -> None:
    for node in NODES:
        stack.kubectl("uncordon", node.name)
