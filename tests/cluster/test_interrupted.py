"""A cluster that was killed at any moment is taken down whole."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.parts import Cache
from k8s.local import cgroups, components, down, faults, machines, network, up
from k8s.local.plan import CONTROL, NODES, ROOT, Plan
from k8s.local.programs import Programs
from k8s.local.waiting import until
from tests.cluster.conftest import note, seconds_until

SETTINGS = ("kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "fs/inotify/max_user_instances")


@pytest.fixture
def plan(programs: Programs) -> Plan:
    plan = Plan.named("ai102-killed")
    down.down(plan)
    return plan


MOMENTS: dict[str, Callable[[Plan], bool]] = {
    "the first namespace": lambda plan: bool(network.left_of(plan)),
    "the first machine": lambda plan: machines.first_process(plan, CONTROL) is not None,
    "the first containerd": lambda plan: components.record_of(plan, NODES[0], "containerd") is not None,
    "the last kubelet": lambda plan: components.record_of(plan, NODES[2], "kubelet") is not None,
    "the first group of pods": lambda plan: any(
        (group / node.name / "kubepods").is_dir() for group in cgroups.left_of(plan) for node in NODES
    ),
}


def settings() -> dict[str, str]:
    return {name: Path("/proc/sys", name).read_text() for name in SETTINGS}


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left_after_a_kill_in_the_middle_of_up(plan: Plan, moment: str) -> None:
    before = settings()
    command = [sys.executable, "-m", "k8s.local", "up", "--name", plan.name]
    starting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def check() -> None:
        assert starting.poll() is None, starting.stderr.read().decode() if starting.stderr else ""

    try:
        until(lambda: MOMENTS[moment](plan), f"{moment} is there", 120, check)
    finally:
        os.kill(starting.pid, signal.SIGKILL)
        starting.wait()
    waited_s = seconds_until(lambda: down.down(plan) is None, "it is down", 1)
    assert down.leftovers(plan) == []
    assert settings() == before
    note(f"{waited_s:5.1f} s  down after a kill at {moment}")


def test_a_paused_cluster_is_taken_down(plan: Plan, cache: Cache) -> None:
    up.up(plan, cache, lambda _: None)
    faults.inject(plan, "pause-control-plane", "")
    faults.inject(plan, "cut-network", "n1")
    faults.inject(plan, "kill-node", "n2")
    waited_s = seconds_until(lambda: down.down(plan) is None, "it is down", 1)
    assert down.leftovers(plan) == []
    note(f"{waited_s:5.1f} s  down of a cluster that is paused, cut and short of a node")


def test_down_of_no_cluster_does_nothing(plan: Plan) -> None:
    down.down(plan)
    assert down.leftovers(plan) == []
