"""Questions from inside: DNS and HTTP with the network of a pod or a machine."""

import http.client
import secrets
import socket
import struct
from pathlib import Path

from k8s.local import api, namespaces
from k8s.local.plan import CLIENT, DNS_SERVICE, MACHINES, Plan
from tests.cluster.workload import NAMESPACE

TIMEOUT_S = 2.0
A_RECORD, INTERNET = 1, 1
HEADER = struct.Struct("!6H")


def client_network(plan: Plan) -> Path:
    return namespaces.path_of(plan.namespace(CLIENT))


def node_network(plan: Plan, name: str) -> Path:
    (machine,) = [machine for machine in MACHINES if machine.name == name]
    return namespaces.path_of(plan.namespace(machine))


def pod_network(plan: Plan, name: str, namespace: str = NAMESPACE) -> Path:
    """The network of a running pod: that of any of its processes."""
    return processes_of_pod(plan, name, namespace)[0] / "ns" / "net"


def processes_of_pod(plan: Plan, name: str, namespace: str = NAMESPACE) -> list[Path]:
    """The folders in /proc of the processes in the control group of a pod; there is at least one."""
    identity = api.get(plan, f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"]
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if identity in (entry / "cgroup").read_text(encoding="utf-8"):
                    processes.append(entry)
            except OSError:  # it has ended
                continue
    assert processes, f"no process of {name} runs"
    return processes


def resolve(network: Path, name: str) -> list[str]:
    """The addresses that the cluster's DNS gives for a name; empty when it knows none or does not answer."""

    def ask() -> list[str]:
        number = secrets.randbits(16)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = labels + b"\0" + struct.pack("!2H", A_RECORD, INTERNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(TIMEOUT_S)
            try:
                client.sendto(HEADER.pack(number, 0x0100, 1, 0, 0, 0) + question, (DNS_SERVICE, 53))
                answer = client.recv(4096)
            except OSError:
                return []
        return _addresses(answer, HEADER.size + len(question))

    return namespaces.inside(network, ask)


def status_of(network: Path, address: str, port: int, path: str = "/") -> int | None:
    """The status of GET; None when the connection is refused, is reset, or nobody answers in time."""

    def ask() -> int | None:
        connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    return namespaces.inside(network, ask)


def _addresses(answer: bytes, place: int) -> list[str]:
    """The A records of an answer; `place` is where they begin. Their names are pointers or repeat the question's."""
    count = HEADER.unpack_from(answer)[3]
    addresses = []
    for _ in range(count):
        while answer[place] and answer[place] < 0xC0:
            place += answer[place] + 1
        place += 2 if answer[place] else 1
        kind, _, _, length = struct.unpack_from("!HHIH", answer, place)
        place += 10
        if kind == A_RECORD:
            addresses.append(socket.inet_ntoa(answer[place : place + length]))
        place += length
    return addresses
