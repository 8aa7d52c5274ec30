"""The network as `ip` is given it: every machine has an address and a way to the pods of every other node."""

import pytest

from ai102.errors import UserError
from k8s.local.network import machine_commands, switch_commands
from k8s.local.plan import CLIENT, CONTROL, MACHINES, NODES, Machine, Plan, machine_named, node_named


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_every_machine_has_a_way_to_the_pods_of_all_other_nodes(machine: Machine) -> None:
    routes = {line for line in machine_commands(machine) if line.startswith("route replace 10.244.")}
    assert routes == {f"route replace {node.pods} via {node.address}" for node in NODES if node is not machine}


def test_all_but_the_control_plane_have_a_default_route() -> None:
    has_default = {machine.name for machine in MACHINES if any("default" in line for line in machine_commands(machine))}
    assert has_default == {machine.name for machine in MACHINES} - {CONTROL.name}


def test_addresses_and_names_of_cables_are_distinct_and_short_enough() -> None:
    ports = [line.split()[2] for line in switch_commands() if " master " in line]
    assert len({machine.address for machine in MACHINES}) == len(MACHINES)
    assert sorted(ports) == sorted({f"v-{machine.name}" for machine in MACHINES})
    assert max(map(len, ports)) <= 15  # the kernel's limit for names of links


def test_a_name_that_may_be_anothers_is_refused() -> None:
    for name in ("docker", "system.slice", "ai102-", "ai102/x", "ai102-much-too-long"):
        with pytest.raises(UserError, match="is no name of a cluster"):
            Plan.named(name)


def test_clusters_of_one_checkout_share_neither_folder_nor_namespace() -> None:
    first, second = Plan.named("ai102"), Plan.named("ai102-b")
    assert (first.folder.name, second.folder.name) == ("cluster", "cluster-b")
    assert first.namespace(CLIENT) != second.namespace(CLIENT)


def test_an_unknown_machine_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match='no machine "n4": the machines are control, n1, n2, n3, client, registry'):
        machine_named("n4")
    with pytest.raises(UserError, match='no node "client": the nodes are n1, n2, n3'):
        node_named("client")
