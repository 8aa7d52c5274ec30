"""The network: a bridge in a namespace of its own, and a cable from it to the namespace of each machine.

No address exists outside these namespaces. Every step may be done again, so that a killed one is completed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ai102.errors import UserError
from k8s.local import namespaces
from k8s.local.plan import CONTROL, MACHINES, NODES, PREFIX_LENGTH, Machine, Plan

BRIDGE = "br0"


def port_of(machine: Machine) -> str:
    """The end of the machine's cable at the bridge."""
    return f"v-{machine.name}"


def up(plan: Plan) -> None:
    """Make what is missing, and join what is cut."""
    for namespace in (plan.switch, *(plan.namespace(machine) for machine in MACHINES)):
        _add_namespace(namespace)
    links = _links(plan.switch)
    if BRIDGE not in links:
        _ip("-n", plan.switch, "link", "add", BRIDGE, "type", "bridge")
    for machine in MACHINES:
        if port_of(machine) not in links:
            cable = ["link", "add", port_of(machine), "netns", plan.switch, "type", "veth"]
            _ip(*cable, "peer", "name", "eth0", "netns", plan.namespace(machine))
    _batch(plan.switch, switch_commands())
    for machine in MACHINES:
        _batch(plan.namespace(machine), machine_commands(machine))


def down(plan: Plan) -> None:
    """Remove the namespaces, with all links in them. Nothing may run in them any more."""
    for namespace in (*(plan.namespace(machine) for machine in MACHINES), plan.switch):
        remove_namespace(namespace)
    if namespaces.FOLDER.is_dir() and not any(namespaces.FOLDER.iterdir()):
        # `ip netns add` mounts the folder onto itself; busy when another program adds one now.
        subprocess.run(["umount", str(namespaces.FOLDER)], capture_output=True, check=False)
        with suppress(OSError):
            namespaces.FOLDER.rmdir()


def remove_namespace(namespace: str) -> None:
    if namespaces.exists(namespace):
        _ip("netns", "delete", namespace)
    else:
        namespaces.path_of(namespace).unlink(missing_ok=True)


def left_of(plan: Plan) -> list[str]:
    """The namespaces of this cluster that exist."""
    if not namespaces.FOLDER.is_dir():
        return []
    named = {plan.switch, *(plan.namespace(machine) for machine in MACHINES)}
    return sorted(entry.name for entry in namespaces.FOLDER.iterdir() if entry.name in named)


def cut(plan: Plan, machine: Machine) -> None:
    """Unplug the machine: nothing reaches it, and nothing comes from it."""
    _ip("-n", plan.switch, "link", "set", port_of(machine), "down")


def unplug(plan: Plan, machine: Machine) -> None:
    """Remove its cable and its namespace. Nothing may run there any more.

    The kernel keeps the namespace for as long as it repeats the last packets of killed programs, and a cable with it.
    """
    if port_of(machine) in _links(plan.switch):
        _ip("-n", plan.switch, "link", "delete", port_of(machine))
    remove_namespace(plan.namespace(machine))


def join(plan: Plan, machine: Machine) -> None:
    _ip("-n", plan.switch, "link", "set", port_of(machine), "up")


def is_cut(plan: Plan, machine: Machine) -> bool:
    if not namespaces.exists(plan.switch):
        return True
    return "UP" not in _links(plan.switch).get(port_of(machine), {}).get("flags", [])


def switch_commands() -> list[str]:
    """Lines for `ip -batch` in the namespace of the bridge."""
    ports = [f"link set {port_of(machine)} master {BRIDGE} up" for machine in MACHINES]
    return ["link set lo up", f"link set {BRIDGE} up", *ports]


def machine_commands(machine: Machine) -> list[str]:
    """Lines for `ip -batch` in the machine's namespace: its address, and the ways to the pods of the nodes."""
    routes = [f"route replace {node.pods} via {node.address}" for node in NODES if node is not machine]
    if machine is not CONTROL:
        # Without one a node calls the address of a Service unreachable before kube-proxy's rules see it.
        routes.append(f"route replace default via {CONTROL.address}")
    address = f"address replace {machine.address}/{PREFIX_LENGTH} dev eth0"
    return ["link set lo up", "link set eth0 up", address, *routes]


def _add_namespace(namespace: str) -> None:
    if not namespaces.exists(namespace):
        namespaces.path_of(namespace).unlink(missing_ok=True)
        _ip("netns", "add", namespace)


def _links(namespace: str) -> dict[str, dict[str, Any]]:
    return {link["ifname"]: link for link in json.loads(_ip("-n", namespace, "-json", "link", "show"))}


def _batch(namespace: str, lines: Sequence[str]) -> None:
    _ip("-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")


def _ip(*arguments: str, text: str = "") -> str:
    done = subprocess.run(["ip", *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"ip {' '.join(arguments)}: {done.stderr.strip().splitlines()[0]}")
    return done.stdout
