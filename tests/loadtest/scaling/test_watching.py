"""The moments of replicas are those of the API's events and of the gateways' logs."""

from typing import Any

from loadtest.scaling.accounts import Lived
from loadtest.scaling.kubectl import Kubectl
from loadtest.scaling.watching import Watch


def pod(name: str, *, ready: bool = False, scheduled: bool = False, running: bool = False, ends: bool = False) -> Any:
    conditions = [
        {"type": "PodScheduled", "status": str(scheduled)},
        {"type": "Ready", "status": str(ready)},
    ]
    status = {"conditions": conditions, "containerStatuses": [{"state": {"running": {}} if running else {}}]}
    metadata = {"name": name, **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if ends else {})}
    return {"metadata": metadata, "status": {**status, "podIP": "10.0.0.1"}}


def test_each_moment_is_kept_once() -> None:
    watch = Watch(Kubectl(()), since=100.0)
    watch.take_pod(90.0, pod("old", scheduled=True, running=True, ready=True), was_there=True)
    watch.take_pod(110.0, pod("new"))
    watch.take_pod(111.0, pod("new", scheduled=True))
    watch.take_pod(113.0, pod("new", scheduled=True, running=True))
    watch.take_pod(117.0, pod("new", scheduled=True, running=True, ready=True))
    watch.take_pod(118.0, pod("new", scheduled=True, running=True, ready=True))
    watch.take_pod(150.0, pod("old", ends=True))
    watch.take_pod(162.0, pod("old", ends=True), is_gone=True)
    new, old = watch.pods["new"], watch.pods["old"]
    assert (new.created, new.scheduled, new.started, new.ready) == (110.0, 111.0, 113.0, 117.0)
    assert (old.ends, old.gone) == (150.0, 162.0)
    assert watch.lived() == {"old": Lived(-10.0, 62.0), "new": Lived(10.0, None)}


def test_only_a_good_answer_of_its_own_is_a_replicas_first() -> None:
    watch = Watch(Kubectl(()))
    watch.take_pod(1.0, pod("new"))
    watch.take_row(2.0, {"status": 503, "replica": "10-0-0-1"})
    watch.take_row(3.0, {"status": 200, "grpc_status": 14, "replica": "10-0-0-1"})
    watch.take_row(4.0, {"status": 200, "grpc_status": 0, "replica": "10-0-0-2"})
    assert watch.pods["new"].answered is None
    watch.take_row(5.0, {"status": 200, "grpc_status": 0, "replica": "10-0-0-1"})
    watch.take_row(6.0, {"status": 200, "grpc_status": 0, "replica": "10-0-0-1"})
    assert watch.pods["new"].answered == 5.0
