"""What the programs of the cluster are started with: their options and files, as they themselves read them."""

import json
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from k8s.local import control_plane, node, pki, registry
from k8s.local.components import Component
from k8s.local.plan import NODES, Plan
from k8s.local.programs import Programs

SANDBOX = "docker.io/ai102-cluster/pause@sha256:" + "a" * 64
CONTROL_PLANE = [
    control_plane.etcd,
    control_plane.api_server,
    control_plane.controller_manager,
    control_plane.scheduler,
]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("ai102-unit", tmp_path)


@pytest.fixture
def programs() -> Programs:
    return Programs(**{field.name: Path("/parts", field.name) for field in fields(Programs)})


def options_of(component: Component) -> dict[str, str]:
    pairs = [option.removeprefix("--").partition("=") for option in component.command[1:] if option.startswith("--")]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("component", CONTROL_PLANE, ids=lambda component: component.__name__)
def test_every_certificate_that_the_control_plane_names_is_made(component, plan: Plan, programs: Programs) -> None:
    pki.make(plan)
    options = options_of(component(plan, programs))
    files = [Path(value) for value in options.values() if value.startswith(f"{plan.pki}/")]
    assert [file for file in files if not file.is_file()] == []


def test_etcd_listens_on_its_own_machine_alone(plan: Plan, programs: Programs) -> None:
    options = options_of(control_plane.etcd(plan, programs))
    assert options["listen-client-urls"] == "http://127.0.0.1:2379"


def test_containerd_takes_every_image_from_the_clusters_registry(plan: Plan, programs: Programs) -> None:
    files = {path.name: text for path, text in node.containerd(plan, NODES[0], programs, SANDBOX).files.items()}
    mirror = tomllib.loads(files["hosts.toml"])
    assert mirror["server"] == "https://10.99.0.6:5000"
    assert mirror["host"]["https://10.99.0.6:5000"]["ca"] == str(plan.pki / "ca.crt")
    plugins = tomllib.loads(files["containerd.toml"])["plugins"]
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == SANDBOX
    folder = Path(plugins["io.containerd.cri.v1.images"]["registry"]["config_path"])
    assert folder / "_default" / "hosts.toml" in node.containerd(plan, NODES[0], programs, SANDBOX).files


def test_containerd_finds_its_shim_and_runc(plan: Plan, programs: Programs) -> None:
    path = node.containerd(plan, NODES[0], programs, SANDBOX).environment["PATH"].split(":")
    assert path[:2] == [str(programs.containerd.parent), str(programs.runc.parent)]


def test_each_node_has_its_own_subnet_group_and_certificate(plan: Plan) -> None:
    subnets = {json.dumps(node.pod_network(each)) for each in NODES}
    configurations = [node.kubelet_configuration(plan, each) for each in NODES]
    assert len(subnets) == len(NODES)
    for name in ("cgroupRoot", "tlsCertFile"):
        assert len({configuration[name] for configuration in configurations}) == len(NODES)


def test_the_nodes_together_promise_the_machine_once() -> None:
    assert node.share_of_others(2, 24 << 30) == {"cpu": "1333m", "memory": f"{16 << 10}Mi"}


def test_the_kubelet_takes_containerds_socket(plan: Plan) -> None:
    assert node.kubelet_configuration(plan, NODES[0])["containerRuntimeEndpoint"] == f"unix://{node.SOCKET}"


def test_the_registry_has_a_certificate(plan: Plan, programs: Programs) -> None:
    pki.make(plan)
    (text,) = registry.registry(plan, programs).files.values()
    assert f"certificate: {plan.pki}/registry.crt" in text
    assert (plan.pki / "registry.crt").is_file()
