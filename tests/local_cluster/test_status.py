"""One screen: what the API says of nodes and pods, in words."""

from pathlib import Path
from typing import Any

import pytest

from k8s.local import status
from k8s.local.api import Node, Pod, is_complete, node_from, pod_from
from k8s.local.plan import CONTROL, NODES, Machine, Plan
from k8s.local.status import MachineState, State

READY = {"type": "Ready", "status": "True", "message": "kubelet is posting ready status"}


def pod(**status_fields: Any) -> Pod:
    metadata = {"namespace": "ai102", "name": "triton-0"}
    return pod_from({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending", **status_fields}})


def test_a_node_is_ready_by_its_condition() -> None:
    item = {"metadata": {"name": "n1"}, "status": {"conditions": [READY]}}
    assert node_from(item) == Node("n1", True, "kubelet is posting ready status")


def test_the_problem_of_a_node_comes_first() -> None:
    full = {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}
    item = {"metadata": {"name": "n1"}, "status": {"conditions": [full, {**READY, "status": "False"}]}}
    assert node_from(item).reason.startswith("DiskPressure, ")


def test_a_node_that_has_said_nothing_yet_is_not_ready() -> None:
    assert node_from({"metadata": {"name": "n1"}, "status": {}}) == Node("n1", False, "no status yet")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]},
            "ErrImagePull: not found",
        ),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}, "0/3 nodes"),
        ({}, ""),
    ],
)
def test_a_pod_says_why_it_is_not_ready(fields: dict[str, Any], reason: str) -> None:
    assert pod(**fields).reason == reason


@pytest.mark.parametrize("phase", ["Succeeded", "Evicted", "Terminating"])
def test_pods_that_are_over_are_not_unhealthy(phase: str) -> None:
    assert status.unhealthy([Pod("a", "b", "n1", phase, False, "", 0)]) == []


def test_an_evicted_pod_is_over() -> None:
    assert pod(phase="Failed", reason="Evicted").is_over
    assert not pod(phase="Failed").is_over


def test_restarts_of_all_containers_are_added() -> None:
    statuses = [{"restartCount": 2, "state": {}}, {"restartCount": 1, "state": {}}]
    assert pod(containerStatuses=statuses).restarts == 3


def row(machine: Machine, *, is_cut: bool = False, ended: tuple[str, ...] = ()) -> MachineState:
    return MachineState(machine, True, is_cut, ("containerd", "kubelet"), ended)


def state(pods: tuple[Pod, ...] = (), ended: tuple[str, ...] = (), *, is_cut: bool = False) -> State:
    rows = (row(CONTROL), *(row(node) for node in NODES[1:]), row(NODES[0], is_cut=is_cut, ended=ended))
    return State(rows, True, tuple(Node(node.name, True, "") for node in NODES), pods)


def test_all_is_well() -> None:
    assert status.is_healthy(state((Pod("a", "b", "n1", "Running", True, "", 0),)))


@pytest.mark.parametrize(
    "unwell",
    [
        state(ended=("kubelet",)),
        state(is_cut=True),
        state((Pod("a", "b", "n1", "Running", False, "", 0),)),
        State((), False, (), ()),
        None,
    ],
)
def test_what_is_unwell_is_unhealthy(unwell: State | None) -> None:
    assert not status.is_healthy(unwell)


def test_the_screen_names_what_ended_and_which_pods_are_not_ready(tmp_path: Path) -> None:
    plan = Plan("ai102-unit", tmp_path / "cluster")
    waiting = Pod("ai102", "triton-0", "n1", "Pending", False, "ErrImagePull:\nnot found", 3)
    lines = status.lines_of(plan, state((waiting,), ("kube-proxy",), is_cut=True))
    assert "n1        10.99.0.2  cut off the network; Ready; kube-proxy ended; containerd kubelet" in lines
    assert "pods of ai102: 0 of 1 ready" in lines
    assert "  ai102/triton-0 on n1: Pending, 3 restarts: ErrImagePull: not found" in lines


def test_the_screen_of_no_cluster_says_so(tmp_path: Path) -> None:
    assert status.lines_of(Plan("ai102-unit", tmp_path / "cluster"), None) == ["no cluster ai102-unit"]


def deployment(generation: int = 2, **status: int) -> dict[str, object]:
    return {"metadata": {"generation": generation}, "spec": {"replicas": 2}, "status": status}


def daemonset(**status: int) -> dict[str, object]:
    return {"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1, **status}}


COMPLETE = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        (deployment(**COMPLETE), True),
        (deployment(generation=3, **COMPLETE), False),
        (deployment(**{**COMPLETE, "replicas": 3}), False),
        (deployment(observedGeneration=2), False),
        (daemonset(desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=3), True),
        (daemonset(desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=2), False),
        ({"metadata": {"generation": 1}, "spec": {}}, False),
    ],
)
def test_a_workload_is_complete_when_its_newest_state_is_everywhere(item: dict[str, Any], answer: bool) -> None:
    assert is_complete(item) is answer
