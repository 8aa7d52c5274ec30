"""A real cluster: nodes, names, Services and NetworkPolicies work, `up` again changes nothing, and faults are seen."""

import json
import time
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.parts import Cache
from k8s.local import api, components, faults, images, loading, registry, status, up
from k8s.local.components import Component
from k8s.local.plan import CLIENT, NODES, Plan, node_named
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster import workload
from tests.cluster.asking import client_network, node_network, pod_network, processes_of_pod, resolve, status_of
from tests.cluster.conftest import note, seconds_until

READY_WITHIN_S = 90.0
# 12 s of grace, looked at every 2 s (k8s/local/timings.py), and what a busy machine adds.
NOT_READY_WITHIN_S = 40.0


@pytest.fixture(scope="module")
def answers(cluster: Plan, programs: Programs) -> list[api.Pod]:
    """The pods of the workload, once all are ready."""
    names = registry.push(cluster, [images.image_of(program) for program in (programs.coredns, programs.pause)])
    api.apply(cluster, programs.kubectl, workload.manifests(*names))
    waited_s = seconds_until(lambda: is_rolled_out(cluster), "the workload is ready", READY_WITHIN_S)
    note(f"{waited_s:5.1f} s  from manifest to 5 ready pods")
    return answering(cluster)


def answering(plan: Plan) -> list[api.Pod]:
    return pods_named(plan, "answer-")


def pods_named(plan: Plan, start: str) -> list[api.Pod]:
    return [pod for pod in api.pods(plan, workload.NAMESPACE) if pod.name.startswith(start)]


def is_rolled_out(plan: Plan) -> bool:
    pods = [pod for pod in api.pods(plan, workload.NAMESPACE) if not pod.is_over]
    return len(pods) == 3 + len(workload.FRIENDS) and all(pod.is_ready for pod in pods)


def address_of(plan: Plan, kind: str, name: str) -> str:
    item = api.get(plan, f"/api/v1/namespaces/{workload.NAMESPACE}/{kind}/{name}")
    return str(item["spec"]["clusterIP"] if kind == "services" else item["status"]["podIP"])


def is_ready(plan: Plan, name: str) -> bool:
    return any(node.is_ready for node in api.nodes(plan) if node.name == name)


def test_three_nodes_are_ready(cluster: Plan) -> None:
    assert {node.name: node.is_ready for node in api.nodes(cluster)} == {node.name: True for node in NODES}


def test_up_again_changes_nothing(cluster: Plan, cache: Cache) -> None:
    before = components.records(cluster)
    waited_s = seconds_until(lambda: up.up(cluster, cache, lambda _: None) == [], "nothing is started", 1)
    assert components.records(cluster) == before
    note(f"{waited_s:5.1f} s  up again, with nothing to do")


def test_the_workload_is_spread_over_the_nodes(answers: list[api.Pod]) -> None:
    assert {pod.node for pod in answers} == {node.name for node in NODES}


def test_images_were_pulled_by_digest(cluster: Plan, answers: list[api.Pod]) -> None:
    pods = api.get(cluster, f"/api/v1/namespaces/{workload.NAMESPACE}/pods")["items"]
    statuses = [each for pod in pods for each in pod["status"]["containerStatuses"]]
    assert {each["imageID"].partition("@")[2] for each in statuses} == {
        each["image"].partition("@")[2] for pod in pods for each in pod["spec"]["containers"]
    }


def test_a_pod_resolves_the_name_of_a_service(cluster: Plan, answers: list[api.Pod]) -> None:
    friend = pod_network(cluster, "friend")
    name = f"answer.{workload.NAMESPACE}.svc.cluster.local"
    assert resolve(friend, name) == [address_of(cluster, "services", "answer")]
    assert resolve(friend, "no-such.svc.cluster.local") == []


def test_a_service_is_reached_from_pods_and_nodes(cluster: Plan, answers: list[api.Pod]) -> None:
    address = address_of(cluster, "services", "answer")
    places = [pod_network(cluster, name) for name in workload.FRIENDS]
    for network in (*places, *(node_network(cluster, node.name) for node in NODES)):
        # kube-proxy may have the pods a second after they are ready.
        until(lambda: status_of(network, address, 80, "/health") == 200, "the Service answers", 10)  # noqa: B023
        assert [status_of(network, address, 80, "/health") for _ in range(9)] == [200] * 9


def test_a_service_is_reached_by_the_client_at_a_port_of_every_node(cluster: Plan, answers: list[api.Pod]) -> None:
    for node in NODES:
        network, address = client_network(cluster), node.address
        until(lambda: status_of(network, address, workload.NODE_PORT, "/health") == 200, "it answers", 10)  # noqa: B023


def test_pods_of_all_nodes_are_reached_by_the_client(cluster: Plan, answers: list[api.Pod]) -> None:
    for pod in answers:
        address = address_of(cluster, "pods", pod.name)
        assert status_of(client_network(cluster), address, workload.PORT, "/health") == 200


def test_a_networkpolicy_refuses_a_stranger_and_lets_a_friend_pass(
    cluster: Plan, programs: Programs, answers: list[api.Pod]
) -> None:
    addresses = [address_of(cluster, "pods", pod.name) for pod in answers]

    def statuses(who: str) -> list[int | None]:
        network = pod_network(cluster, who)
        return [status_of(network, address, workload.PORT, "/health") for address in addresses]

    assert statuses("stranger") == [200] * len(addresses)
    api.apply(cluster, programs.kubectl, workload.only_friends())
    waited_s = seconds_until(lambda: statuses("stranger") == [None] * len(addresses), "the stranger is refused", 60)
    note(f"{waited_s:5.1f} s  from NetworkPolicy to refused on all nodes")
    assert statuses("friend") == [200] * len(addresses)
    kubectl = programs.kubectl
    api.kubectl(cluster, kubectl, "delete", "networkpolicy", "only-friends", "-n", workload.NAMESPACE)
    until(lambda: statuses("stranger") == [200] * len(addresses), "the stranger is let in again", 60)


def test_an_overlay_is_applied_with_digests_also_in_image_volumes(
    cluster: Plan, programs: Programs, answers: list[api.Pod], tmp_path: Path
) -> None:
    made = [images.image_of(program) for program in (programs.pause, programs.coredns)]
    loading.remember(cluster, {image.reference.rpartition(":")[0]: registry.name_of(image) for image in made})
    (tmp_path / "kustomization.yaml").write_text("resources: [reader.pod.yaml]\n")
    (tmp_path / "reader.pod.yaml").write_text(
        json.dumps(workload.reader("ai102-cluster/pause", "ai102-cluster/coredns"))
    )
    loading.apply(cluster, programs.kubectl, tmp_path)
    until(lambda: any(pod.is_ready for pod in pods_named(cluster, "reader")), "the reader is ready", READY_WITHIN_S)
    files = [process / "root" / "models" / "bin" / "coredns" for process in processes_of_pod(cluster, "reader")]
    assert [file.stat().st_size for file in files if file.exists()] == [programs.coredns.stat().st_size]
    api.kubectl(cluster, programs.kubectl, "delete", "pod", "reader", "-n", workload.NAMESPACE, "--grace-period=1")


def test_logs_and_commands_reach_the_kubelet(cluster: Plan, programs: Programs, answers: list[api.Pod]) -> None:
    for pod in answers:
        log = api.kubectl(cluster, programs.kubectl, "logs", pod.name, "-n", workload.NAMESPACE)
        assert "CoreDNS" in log


def test_a_component_that_ends_is_named_with_its_last_words(cluster: Plan) -> None:
    broken = Component("broken", CLIENT, ("/bin/sh", "-c", "echo the disk is full; exit 3"))
    components.start(cluster, broken)
    with pytest.raises(UserError, match=r"client: broken has ended; the last lines of .*:\n  the disk is full"):
        until(lambda: False, "it ends", 30, lambda: components.check_all_run(cluster, [broken]))
    components.forget(cluster, CLIENT)


def test_the_status_is_one_screen_and_says_that_all_is_well(cluster: Plan, answers: list[api.Pod]) -> None:
    until(lambda: status.is_healthy(status.state_of(cluster)), "all is well", READY_WITHIN_S)
    lines = status.lines_of(cluster, status.state_of(cluster))
    assert len(lines) <= 24
    assert f"pods of {workload.NAMESPACE}: 5 of 5 ready" in lines


def test_a_node_that_is_cut_off_becomes_notready_and_ready_again(
    cluster: Plan, cache: Cache, answers: list[api.Pod]
) -> None:
    faults.inject(cluster, "cut-network", "n3")
    lost_s = seconds_until(lambda: not is_ready(cluster, "n3"), "n3 is NotReady", NOT_READY_WITHIN_S)
    assert "n3        10.99.0.4  cut off the network; NotReady" in "\n".join(
        status.lines_of(cluster, status.state_of(cluster))
    )
    began = time.monotonic()
    assert up.up(cluster, cache, lambda _: None) == ["n3: the network, which was cut"]
    back_s = time.monotonic() - began
    note(f"{lost_s:5.1f} s  from cut to NotReady, {back_s:.1f} s from joined to Ready")


def test_a_killed_kubelet_alone_is_started_again(cluster: Plan, cache: Cache, answers: list[api.Pod]) -> None:
    faults.inject(cluster, "kill-kubelet", "n2")
    lost_s = seconds_until(lambda: not is_ready(cluster, "n2"), "n2 is NotReady", NOT_READY_WITHIN_S)
    assert up.up(cluster, cache, lambda _: None) == ["n2: kubelet"]
    note(f"{lost_s:5.1f} s  from kill -9 of a kubelet to NotReady")


def test_a_paused_control_plane_answers_again_when_it_is_resumed(cluster: Plan, answers: list[api.Pod]) -> None:
    address = address_of(cluster, "services", "answer")
    faults.inject(cluster, "pause-control-plane", "")
    assert not api.is_ready(cluster)
    assert status_of(node_network(cluster, "n1"), address, 80, "/health") == 200  # what runs goes on
    faults.inject(cluster, "resume-control-plane", "")
    until(lambda: api.is_ready(cluster), "the API server is ready", READY_WITHIN_S)


def test_a_paused_control_plane_goes_on_with_up(cluster: Plan, cache: Cache) -> None:
    faults.inject(cluster, "pause-control-plane", "")
    changes = up.up(cluster, cache, lambda _: None)
    assert changes == [
        f"control: kube-{name}, which was paused" for name in ("apiserver", "controller-manager", "scheduler")
    ]
    assert api.is_ready(cluster)


def test_the_pods_of_a_dead_node_are_replaced_and_the_node_comes_back(
    cluster: Plan, cache: Cache, answers: list[api.Pod]
) -> None:
    until(lambda: is_rolled_out(cluster), "the workload is ready", READY_WITHIN_S)
    faults.inject(cluster, "kill-node", "n3")
    lost_s = seconds_until(lambda: not is_ready(cluster, "n3"), "n3 is NotReady", NOT_READY_WITHIN_S)

    def are_replaced() -> bool:
        ready = [pod for pod in answering(cluster) if pod.is_ready and pod.node != "n3"]
        return len(ready) == 3

    replaced_s = lost_s + seconds_until(are_replaced, "three pods are ready elsewhere", READY_WITHIN_S)
    note(f"{lost_s:5.1f} s  from power off to NotReady, {replaced_s:.1f} s to pods ready elsewhere")
    back_s = seconds_until(lambda: "n3" in up.up(cluster, cache, lambda _: None), "n3 is switched on", 1)
    assert is_ready(cluster, "n3")
    note(f"{back_s:5.1f} s  from power on to Ready")


def test_a_full_disk_is_seen_as_disk_pressure(cluster: Plan, cache: Cache, answers: list[api.Pod]) -> None:
    def has_pressure() -> bool:
        node = api.get(cluster, "/api/v1/nodes/n3")
        return any(each["type"] == "DiskPressure" and each["status"] == "True" for each in node["status"]["conditions"])

    assert not has_pressure()
    faults.fill_disk(cluster, node_named("n3"))
    waited_s = seconds_until(has_pressure, "n3 has disk pressure", READY_WITHIN_S)
    assert up.up(cluster, cache, lambda _: None) == ["n3: the disk, which was full"]
    note(f"{waited_s:5.1f} s  from full disk to DiskPressure")
