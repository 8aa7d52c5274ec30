"""Replicas that HAProxy found by DNS: which server of which backend is which replica, and how it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ai102.gateway.replica_state import ReplicaState

Row = Mapping[str, str]


def states_from_servers(
    servers: Iterable[Row], statistics: Iterable[Row], backends: Sequence[str]
) -> list[ReplicaState]:
    """`servers` are rows of "show servers state", `statistics` of "show stat".

    Each backend gives its servers to replicas by itself, so the numbers in their names say nothing: what the servers of
    a replica have in common is the host name of its record. A server without one is free. A replica is named by its IP
    address, and by address and port of its first server where several share one. It is up when it is in every backend
    and all checks of it succeed.
    """
    status = {(row["pxname"], row["svname"]): row for row in statistics}
    by_host: dict[str, list[Row]] = {}
    for server in servers:
        if server["be_name"] in backends and server["srv_fqdn"] != "-" and server["srv_addr"] != "-":
            by_host.setdefault(server["srv_fqdn"], []).append(server)
    addresses = Counter(rows[0]["srv_addr"] for rows in by_host.values())
    states = []
    for rows in by_host.values():
        own = [status[row["be_name"], row["srv_name"]] for row in rows]
        address, port = rows[0]["srv_addr"], rows[0]["srv_port"]
        states.append(
            ReplicaState(
                address if addresses[address] == 1 else f"{address}:{port}",
                is_up=len(own) == len(backends) and all(row["status"].startswith("UP") for row in own),
                is_drained=False,
                busy=sum(int(row["scur"]) for row in own),
            )
        )
    return sorted(states, key=lambda state: state.name)
