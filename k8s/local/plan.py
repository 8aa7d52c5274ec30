"""What the cluster consists of: its machines, their addresses, and the folders and names that it uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ai102.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
NAME = "ai102"
# Namespaces and control groups bear the name, and `down` removes what bears it.
NAMES = re.compile(r"^ai102(-[a-z0-9]{1,8})?$")

PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
DOMAIN = "cluster.local"
PREFIX_LENGTH = 24
API_PORT = 6443
REGISTRY_PORT = 5000


@dataclass(frozen=True)
class Machine:
    """One network namespace with its own mounts and processes."""

    name: str
    address: str
    pods: str = ""  # the subnet of its pods; only a node has one
    zone: str = ""


CONTROL = Machine("control", "10.99.0.1")
NODES = (
    Machine("n1", "10.99.0.2", "10.244.1.0/24", "a"),
    Machine("n2", "10.99.0.3", "10.244.2.0/24", "b"),
    Machine("n3", "10.99.0.4", "10.244.3.0/24", "c"),
)
CLIENT = Machine("client", "10.99.0.5")
REGISTRY = Machine("registry", "10.99.0.6")
MACHINES = (CONTROL, *NODES, CLIENT, REGISTRY)

API_URL = f"https://{CONTROL.address}:{API_PORT}"
REGISTRY_ADDRESS = f"{REGISTRY.address}:{REGISTRY_PORT}"


@dataclass(frozen=True)
class Plan:
    """One cluster of this machine: its name, and the absolute folder with all that it writes."""

    name: str
    folder: Path

    def __post_init__(self) -> None:
        if not NAMES.fullmatch(self.name):
            raise UserError(
                f'"{self.name}" is no name of a cluster: write ai102, or ai102- and up to 8 letters or digits'
            )

    @classmethod
    def named(cls, name: str = NAME) -> Plan:
        """The cluster of this checkout: build/cluster, or build/cluster-SUFFIX for ai102-SUFFIX."""
        return cls(name, ROOT / "build" / f"cluster{name.removeprefix(NAME)}")

    @property
    def switch(self) -> str:
        """The namespace of the bridge that joins the machines."""
        return f"{self.name}-switch"

    def namespace(self, machine: Machine) -> str:
        return f"{self.name}-{machine.name}"

    def folder_of(self, machine: Machine) -> Path:
        return self.folder / "machines" / machine.name

    def log(self, machine: Machine, component: str) -> Path:
        return self.folder / "logs" / f"{machine.name}-{component}.log"

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def records(self) -> Path:
        """What runs, a file a process."""
        return self.folder / "records"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"


def machine_named(name: str) -> Machine:
    """Raises UserError when there is none."""
    for machine in MACHINES:
        if machine.name == name:
            return machine
    raise UserError(f'there is no machine "{name}": the machines are {", ".join(each.name for each in MACHINES)}')


def node_named(name: str) -> Machine:
    """Raises UserError when there is none."""
    for node in NODES:
        if node.name == name:
            return node
    raise UserError(f'there is no node "{name}": the nodes are {", ".join(node.name for node in NODES)}')
