"""The component `gpu` on a node that claims two GPUs: scheduling is real, devices and NVIDIA's image are not.

The image ai102/server stands in for ai102/server-gpu.
"""

import json
import time
from collections.abc import Iterator

import pytest

from k8s.local.waiting import until
from tests.cluster.conftest import note, seconds_until
from tests.cluster.overlays.site import NAMESPACE, READY_WITHIN_S, Object, Site

GPU = "nvidia.com/gpu"
NODE, GPUS = "n1", 2


@pytest.fixture(scope="module")
def with_gpus(site: Site) -> Iterator[Site]:
    """dev, whose replicas are as many as the node has GPUs."""
    claim(site, GPUS)
    site.run("label", "node", NODE, f"{GPU}.present=true", "--overwrite")
    site.run("taint", "node", NODE, f"{GPU}=present:NoSchedule", "--overwrite")  # for who needs none
    try:
        site.make_namespace()
        site.apply("dev", ["gpu"])
        waited_s = seconds_until(lambda: not site.unfinished(), "every pod is ready", READY_WITHIN_S)
        note(f"{waited_s:5.1f} s  dev and gpu: from applied to all pods ready")
        yield site
        site.clear()
    finally:
        site.run("taint", "node", NODE, f"{GPU}-")
        site.run("label", "node", NODE, f"{GPU}.present-")
        site.run("patch", "node", NODE, "--subresource=status", "--type=json", "-p",
                 json.dumps([{"op": "remove", "path": f"/status/capacity/{GPU.replace('/', '~1')}"}]))  # fmt: skip


def claim(site: Site, count: int) -> None:
    status = {"status": {"capacity": {GPU: str(count)}}}
    site.run("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    until(lambda: site.get(f"/api/v1/nodes/{NODE}")["status"]["allocatable"].get(GPU) == str(count), "it has GPUs", 30)


def bound(site: Site) -> list[Object]:
    """Replicas that have a GPU: on the node, and not over, those too that are asked to end."""
    selector = "labelSelector=app.kubernetes.io%2Fname%3Dtriton"
    pods = site.get(f"/api/v1/namespaces/{NAMESPACE}/pods?{selector}")["items"]
    return [pod for pod in pods if pod["spec"].get("nodeName") and pod["status"]["phase"] in ("Pending", "Running")]


def is_ready(pod: Object) -> bool:
    return any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions", []))


def waiting_for_a_gpu(site: Site) -> list[str]:
    """Names of replicas that no node has room for, since its GPUs are given away."""
    return [
        pod["metadata"]["name"]
        for pod in site.pods("triton")
        if any(f"Insufficient {GPU}" in row.get("message", "") for row in pod["status"].get("conditions", []))
    ]


def test_replicas_run_where_the_gpus_are_and_nobody_else_does(with_gpus: Site) -> None:
    assert [pod["spec"]["nodeName"] for pod in bound(with_gpus)] == [NODE] * GPUS
    others = [pod for name in ("gateway", "api", "issuer") for pod in with_gpus.pods(name)]
    assert NODE not in {pod["spec"]["nodeName"] for pod in others}


def test_a_replica_more_than_there_are_gpus_waits(with_gpus: Site) -> None:
    with_gpus.run("scale", "deployment/triton", f"--replicas={GPUS + 1}", f"--namespace={NAMESPACE}")
    until(lambda: len(waiting_for_a_gpu(with_gpus)) == 1, "one replica waits for a GPU", 30)
    assert len(bound(with_gpus)) == GPUS
    with_gpus.run("scale", "deployment/triton", f"--replicas={GPUS}", f"--namespace={NAMESPACE}")
    until(lambda: not with_gpus.unfinished(), "all are ready again", READY_WITHIN_S)
    assert not waiting_for_a_gpu(with_gpus)


def test_a_release_takes_a_replica_away_before_it_adds_one(with_gpus: Site) -> None:
    before = {pod["metadata"]["uid"] for pod in bound(with_gpus)}
    fewest, most = GPUS, 0
    with_gpus.run("rollout", "restart", "deployment/triton", f"--namespace={NAMESPACE}")

    def is_done() -> bool:
        nonlocal fewest, most
        pods = bound(with_gpus)
        fewest, most = min(fewest, sum(map(is_ready, pods))), max(most, len(pods))
        return not with_gpus.unfinished() and before.isdisjoint(pod["metadata"]["uid"] for pod in pods)

    began = time.monotonic()
    until(is_done, "every replica is another one", READY_WITHIN_S)
    note(f"{time.monotonic() - began:5.1f} s  gpu: a release of {GPUS} replicas on {GPUS} GPUs")
    assert (fewest >= GPUS - 1, most) == (True, GPUS)
