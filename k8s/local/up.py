"""Bring the cluster up: make and start what is missing, in an order, and leave alone what is as it should be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai102.parts import Cache
from k8s.local import (
    addons,
    api,
    components,
    control_plane,
    disk,
    images,
    kernel,
    machines,
    manifests,
    network,
    pki,
)
from k8s.local import node as nodes
from k8s.local import registry as registries
from k8s.local.addons import Addon
from k8s.local.components import Component
from k8s.local.plan import MACHINES, NODES, REGISTRY_ADDRESS, Machine, Plan
from k8s.local.programs import Programs, check_machine
from k8s.local.waiting import until

Say = Callable[[str], None]

CORE = Path(__file__).parent / "core"
API_TIMEOUT_S = 90.0
NODES_TIMEOUT_S = 90.0
PODS_TIMEOUT_S = 120.0
SYSTEM = "kube-system"


@dataclass
class Up:
    """One run of `up`: what it needs, what it has started, and since when it runs."""

    plan: Plan
    cache: Cache
    programs: Programs
    say: Say
    started: list[str] = field(default_factory=list)
    wanted: list[Component] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def start(self, component: Component) -> None:
        self.wanted.append(component)
        if components.start(self.plan, component):
            self.started.append(f"{component.machine.name}: {component.name}")

    def wait(self, holds: Callable[[], bool], what: str, within_s: float) -> None:
        until(holds, what, within_s, self.check)

    def check(self) -> None:
        components.check_all_run(self.plan, self.wanted)

    def reached(self, what: str) -> None:
        self.say(f"{time.monotonic() - self.since:5.1f} s  {what}")


def up(plan: Plan, cache: Cache, say: Say, wanted: Sequence[Addon] = ()) -> list[str]:
    """What was started and mended now. Raises UserError that names what does not start, and why."""
    check_machine()
    # The registry has an address that no proxy of the outside knows.
    os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), REGISTRY_ADDRESS.partition(":")[0])))
    run = Up(plan, cache, Programs.of(cache), say)
    sandbox, dns = (images.image_of(program) for program in (run.programs.pause, run.programs.coredns))
    _machines(run)
    # What waits for nothing starts first, and together.
    run.start(control_plane.etcd(plan, run.programs))
    run.start(control_plane.api_server(plan, run.programs))
    run.start(registries.registry(plan, run.programs))
    for node in NODES:
        run.start(nodes.containerd(plan, node, run.programs, registries.name_of(sandbox)))
    run.wait(lambda: registries.answers(plan), "the registry answers", API_TIMEOUT_S)
    registries.push(plan, [sandbox, dns])
    run.reached("registry with the cluster's own images")
    run.wait(lambda: api.is_ready(plan), "the API server is ready", API_TIMEOUT_S)
    run.reached("API server ready")
    run.start(control_plane.controller_manager(plan, run.programs))
    run.start(control_plane.scheduler(plan, run.programs))
    _nodes(run, registries.name_of(dns))
    for addon in wanted:
        addons.install(plan, addon, cache, run.programs.kubectl, run.check)
        run.reached(f"{addon.name} ready")
    return run.started


def ready_nodes(plan: Plan) -> int:
    return sum(node.is_ready for node in api.nodes(plan))


def _machines(run: Up) -> None:
    plan = run.plan
    kernel.up(plan)
    pki.make(plan)
    off = [machine for machine in MACHINES if machines.first_process(plan, machine) is None]
    cut = [machine for machine in MACHINES if machine not in off and network.is_cut(plan, machine)]
    network.up(plan)
    for machine in off:
        machines.switch_on(plan, machine, run.cache)
    for machine in off:
        machines.wait_ready(plan, machine)
    full = [node for node in NODES if disk.free(machines.var_of(plan, node))]
    run.started += [machine.name for machine in off]
    run.started += [f"{machine.name}: the network, which was cut" for machine in cut]
    run.started += [f"{node.name}: the disk, which was full" for node in full]
    run.started += [f"{record.machine}: {record.name}, which was paused" for record in components.resume(plan)]
    run.reached(f"{len(MACHINES)} machines and their network")


def _nodes(run: Up, dns: str) -> None:
    """Start what asks the API server on each node, and wait until they and the cluster's own pods are ready."""
    plan = run.plan
    run.wait(lambda: all(_has_containerd(plan, node) for node in NODES), "containerd answers", API_TIMEOUT_S)
    for node in NODES:
        run.start(nodes.kubelet(plan, node, run.programs))
        run.start(nodes.kube_proxy(plan, node, run.programs))
    manifests.apply_folders(plan, run.programs.kubectl, [CORE], {"coredns": dns})
    # kube-router ends where its node is unknown.
    run.wait(lambda: len(api.nodes(plan)) == len(NODES), f"{len(NODES)} nodes are known", NODES_TIMEOUT_S)
    for node in NODES:
        run.start(nodes.kube_router(plan, node, run.programs))
    run.wait(lambda: ready_nodes(plan) == len(NODES), f"{len(NODES)} nodes are Ready", NODES_TIMEOUT_S)
    run.reached(f"{len(NODES)} nodes Ready")
    run.wait(lambda: _all_pods_ready(plan), f"the pods of {SYSTEM} are ready", PODS_TIMEOUT_S)
    run.reached("DNS ready")


def _has_containerd(plan: Plan, machine: Machine) -> bool:
    first = machines.first_process(plan, machine)
    return first is not None and Path(f"/proc/{first.pid}/root{nodes.SOCKET}").exists()


def _all_pods_ready(plan: Plan) -> bool:
    pods = [pod for pod in api.pods(plan, SYSTEM) if not pod.is_over]
    return bool(pods) and all(pod.is_ready for pod in pods)
