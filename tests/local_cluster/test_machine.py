"""What is changed on this machine and set back: control groups and settings of the kernel, in recorded trees."""

from pathlib import Path

import pytest

from k8s.local import cgroups, kernel
from k8s.local.plan import NODES, Plan

BEFORE = {"kernel/panic": "0", "vm/overcommit_memory": "0", kernel.INSTANCES: "128"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("ai102-unit", tmp_path / "cluster")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    root = tmp_path / "proc-sys"
    for name, value in BEFORE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")
    return root


def values(root: Path) -> dict[str, str]:
    return {name: (root / name).read_text().strip() for name in BEFORE}


def test_settings_of_the_kernel_are_set_back(plan: Plan, settings: Path) -> None:
    kernel.up(plan, settings)
    (settings / "kernel/panic").write_text("10\n")  # as a kubelet does
    kernel.up(plan, settings)  # of a second `up`, which must not take these for those of before
    assert values(settings) == {**BEFORE, "kernel/panic": "10", kernel.INSTANCES: "1024"}
    kernel.down(plan, settings)
    assert values(settings) == BEFORE


def test_a_larger_number_of_watchers_stays(plan: Plan, settings: Path) -> None:
    (settings / kernel.INSTANCES).write_text("8192\n")
    kernel.up(plan, settings)
    assert values(settings)[kernel.INSTANCES] == "8192"


def hierarchy(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in {"cgroup.procs": "", **files}.items():
        (folder / name).write_text(text)
    return folder


def test_each_controller_of_version_1_is_a_hierarchy(tmp_path: Path) -> None:
    for name in ("cpu", "memory", "unified"):
        hierarchy(tmp_path / name, {})
    (tmp_path / "cpuacct").symlink_to(tmp_path / "cpu")
    assert [folder.name for folder in cgroups.hierarchies(tmp_path)] == ["cpu", "memory", "unified"]


def test_version_2_is_one_hierarchy(tmp_path: Path) -> None:
    mount = hierarchy(tmp_path / "cgroup", {"cgroup.controllers": "cpu memory"})
    hierarchy(mount / "system.slice", {})
    assert cgroups.hierarchies(mount) == [mount]


def test_a_group_of_version_1_takes_the_processors_of_its_parent(plan: Plan, tmp_path: Path) -> None:
    mount = tmp_path / "cgroup"
    cpuset = hierarchy(mount / "cpuset", {"cpuset.cpus": "0-1", "cpuset.mems": "0"})
    for group in (cpuset / plan.name, cpuset / plan.name / "n1"):
        hierarchy(group, {"cpuset.cpus": "\n", "cpuset.mems": "\n"})  # as the kernel makes them
    cgroups.make(plan, NODES[0], mount)
    assert (cpuset / plan.name / "n1" / "cpuset.cpus").read_text() == "0-1"


def test_a_group_of_version_2_passes_its_controllers_on(plan: Plan, tmp_path: Path) -> None:
    files = {"cgroup.controllers": "cpu memory", "cgroup.subtree_control": ""}
    mount = hierarchy(tmp_path / "cgroup", files)
    cgroups.make(plan, NODES[0], mount)
    assert (mount / "cgroup.subtree_control").read_text() == "+cpu +memory"


def test_the_group_of_a_node_lies_in_the_clusters_group(plan: Plan, tmp_path: Path) -> None:
    mount = hierarchy(tmp_path / "cgroup", {"cgroup.controllers": "cpu memory"})
    cgroups.make(plan, NODES[0], mount)
    assert (mount / "ai102-unit" / "n1").is_dir()
    assert cgroups.group_of(plan, NODES[0]) == "/ai102-unit/n1"
    assert cgroups.left_of(plan, mount) == [mount / "ai102-unit"]
    cgroups.remove(plan, mount=mount)
    assert cgroups.left_of(plan, mount) == []


def test_only_the_group_of_one_node_is_removed(plan: Plan, tmp_path: Path) -> None:
    mount = hierarchy(tmp_path / "cgroup", {"cgroup.controllers": "cpu memory"})
    for node in NODES:
        cgroups.make(plan, node, mount)
    cgroups.remove(plan, NODES[1], mount)
    assert sorted(folder.name for folder in (mount / "ai102-unit").iterdir()) == ["n1", "n3"]
