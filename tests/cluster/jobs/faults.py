"""What happens to the parts of jobs while they are handed in and done."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from k8s.local import api, processes
from k8s.local.plan import NODES
from k8s.local.waiting import until
from tests.cluster.asking import processes_of_pod
from tests.cluster.calls.deaths import SANDBOX
from tests.cluster.calls.stack import NAMESPACE, Stack

BACK_WITHIN_S = 240.0
SIDECAR = "daprd"
Fault = Callable[[Stack], None]


def pods_of(stack: Stack, name: str) -> list[api.Pod]:
    """The pods of a Deployment or StatefulSet that are not over."""
    return stack.pods(name) or [pod for pod in api.pods(stack.plan, NAMESPACE) if pod.name == f"{name}-0"]


def killed(name: str, *, is_sidecar: bool = False) -> Fault:
    """KILL the processes of one pod, or those of its sidecar alone."""

    def run(stack: Stack) -> None:
        pod = pods_of(stack, name)[0]
        victims = [entry for entry in processes_of_pod(stack.plan, pod.name, NAMESPACE) if _is(entry, is_sidecar)]
        assert victims, f"{pod.name} has no such process"
        for entry in victims:
            if process := processes.identified(int(entry.name)):
                processes.send(process, signal.SIGKILL)
        until(lambda: _has_restarted(stack, name, pod), f"{pod.name} was started again", BACK_WITHIN_S)

    return run


def _has_restarted(stack: Stack, name: str, before: api.Pod) -> bool:
    return any(pod.name == before.name and pod.restarts > before.restarts for pod in pods_of(stack, name))


def _is(entry: Path, is_sidecar: bool) -> bool:
    try:
        name = (entry / "comm").read_text(encoding="utf-8").strip()
    except OSError:  # it has ended
        return False
    return name == SIDECAR if is_sidecar else name not in (SANDBOX, SIDECAR)


def deleted(name: str) -> Fault:
    """The pod is asked to end; another one takes its place."""

    def run(stack: Stack) -> None:
        stack.kubectl("delete", "pod", pods_of(stack, name)[0].name, "--wait=true", "--timeout=120s")

    return run


def restarted(*names: str) -> Fault:
    """All pods of Deployments are replaced, one after another."""

    def run(stack: Stack) -> None:
        for name in names:
            stack.kubectl("rollout", "restart", f"deployment/{name}")
        for name in names:
            stack.roll_out(name)

    return run


def emptied(stack: Stack) -> None:
    """The broker forgets everything."""
    login = 'REDISCLI_AUTH="$(cat /run/secrets/broker/password)"'
    stack.kubectl("exec", "redis-0", "--", "sh", "-c", f"{login} redis-cli FLUSHALL")


def drained(stack: Stack) -> None:
    """A node without the ledger, whose volume is of one node, and without the issuer, whose users go with its pod."""
    unwanted = {pod.node for name in ("postgresql", "issuer") for pod in pods_of(stack, name)}
    node = next(node.name for node in NODES if node.name not in unwanted)
    stack.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s")
    stack.kubectl("uncordon", node)


FAULTS: dict[str, Fault] = {
    "kill -9 of a worker": killed("worker"),
    "kill -9 of a worker's sidecar": killed("worker", is_sidecar=True),
    "kill -9 of an API": killed("api"),
    "kill -9 of an API's sidecar": killed("api", is_sidecar=True),
    "kill -9 of PostgreSQL": killed("postgresql"),
    "kill -9 of Redis": killed("redis"),
    "Redis emptied": emptied,
    "kill -9 of a Triton": killed("triton"),
    "kill -9 of a gateway": killed("gateway"),
    "PostgreSQL's pod replaced": deleted("postgresql"),
    "Redis' pod replaced": deleted("redis"),
    "rolling restart of API and workers": restarted("api", "worker"),
    "rolling restart of Triton": restarted("triton"),
    "drain of a node": drained,
}
ESSENTIAL = ("kill -9 of a worker", "kill -9 of PostgreSQL", "Redis emptied", "rolling restart of API and workers")
