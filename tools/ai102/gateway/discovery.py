"""Where a gateway's replicas are: named one by one, by the records of the cluster's DNS, or behind a mesh's Service."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai102.contract.table import Table
from ai102.errors import UserError

Discovery = Literal["static", "dns", "mesh"]
Balance = Literal["roundrobin", "leastconn", "source"]
# A role or replica: it becomes an identifier in two proxies' languages and a metric label.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
# An IPv6 address stands in brackets, as in [::1]:8080.
Address = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")]
# A whole name with its domain: a proxy's resolver does not search in domains, as a program's does.
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$", max_length=200)]

# How often the cluster's DNS is asked, and how old its last word on a replica may be.
ASK_EVERY_S = 1
OBSOLETE_AFTER_S = 1
# From a pod's deletion to DNS records without it: a controller and the DNS server must hear of it.
RECORDS_CHANGE_S = 2
# An answer over UDP must hold a record of each: some 140 bytes in 8,192.
MOST_REPLICAS = 48


class Replica(Table):
    """One tritonserver."""

    name: Word = Field(examples=['"a"'])
    http: Address = Field(examples=['"127.0.0.1:18000"'])
    grpc: Address = Field(examples=['"127.0.0.1:18001"'])
    weight: int = Field(1, ge=1, le=256, examples=["1"])


class Dns(Table):
    """The headless Service whose ready pods are the replicas: SRV records _http._tcp.SERVICE and _grpc._tcp.SERVICE."""

    service: ServiceName = Field(examples=['"triton-replicas.ai102.svc.cluster.local"'])
    nameserver: Address | Literal[""] = Field("", examples=['"10.96.0.10:53"'])  # empty: those of /etc/resolv.conf
    at_most: int = Field(16, ge=2, le=MOST_REPLICAS, examples=["16"])
    expected: int = Field(1, ge=1, examples=["3"])  # fewer is an alert
    ttl_s: int = Field(5, ge=1, le=60, examples=["5"])  # of the records: how long a cache may keep them
    keep_s: int = Field(3600, ge=1, le=86400, examples=["3600"])  # the last replicas while no DNS server answers

    @model_validator(mode="after")
    def _nameserver_is_an_address(self) -> Self:
        host, _, port = self.nameserver.rpartition(":")
        try:
            if self.nameserver:
                ipaddress.ip_address(host.strip("[]"))
        except ValueError as err:
            raise ValueError(
                f'nameserver is "{self.nameserver}", whose host is a name; write its address, for example '
                f'"10.96.0.10:{port}", or "" for the servers of /etc/resolv.conf'
            ) from err
        return self

    @model_validator(mode="after")
    def _has_places_for_a_rollout(self) -> Self:
        if self.at_most < 2 * self.expected:
            raise ValueError(
                f"at_most is {self.at_most} and expected {self.expected}: while a release replaces them there are "
                f"twice as many; write at_most = {2 * self.expected} or more"
            )
        return self

    @property
    def stop_wait_s(self) -> int:
        """How long a replica that is asked to stop must go on taking calls: so late the last gateway hears of it.

        Its removal must reach the DNS server, leave caches (ttl_s), be asked for, and be older than the last word on
        it; HAProxy counts in whole seconds.
        """
        return RECORDS_CHANGE_S + self.ttl_s + ASK_EVERY_S + OBSOLETE_AFTER_S + 1


class Mesh(Table):
    """Triton's Service in a mesh, each as NAME:PORT: the mesh chooses the pod for each call, by its own weights."""

    http: Address = Field(examples=['"triton.ai102.svc.cluster.local:8000"'])
    grpc: Address = Field(examples=['"triton.ai102.svc.cluster.local:8001"'])


class Triton(Table):
    """The replicas behind the gateway and how requests are spread over them."""

    discovery: Discovery = Field("static", examples=['"dns"'])
    replicas: tuple[Replica, ...] = Field((), examples=["one table [[triton.replicas]] per server"])
    dns: Dns | None = Field(None, examples=["a table [triton.dns]"])
    mesh: Mesh | None = Field(None, examples=["a table [triton.mesh]"])
    balance: Balance = Field("leastconn", examples=['"leastconn"'])
    secret_file: Path = Field(Path("build/gateway/secret"), examples=['"build/gateway/secret"'])

    @model_validator(mode="after")
    def _only_what_is_read_is_there(self) -> Self:
        tables = {"static": "[[triton.replicas]]", "dns": "[triton.dns]", "mesh": "[triton.mesh]"}
        given = {"static": bool(self.replicas), "dns": self.dns is not None, "mesh": self.mesh is not None}
        if not given.pop(self.discovery):
            raise ValueError(
                f'discovery is "{self.discovery}" and there is no table {tables[self.discovery]}: write one'
            )
        if unread := [tables[name] for name, is_given in given.items() if is_given]:
            raise ValueError(
                f'discovery is "{self.discovery}" and does not read {unread[0]}: take that out or change discovery'
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        refuse_doubles("replicas", [replica.name for replica in self.replicas])
        refuse_doubles("replicas", [place for replica in self.replicas for place in (replica.http, replica.grpc)])
        return self

    @property
    def servers(self) -> tuple[Replica, ...]:
        """What a proxy names in its configuration: the replicas, or a mesh's Service; none where DNS tells them."""
        if self.mesh is not None:
            return (Replica(name="mesh", http=self.mesh.http, grpc=self.mesh.grpc),)
        return self.replicas

    @property
    def named(self) -> tuple[Replica, ...]:
        """The replicas of gateway.toml; UserError where it does not name them."""
        if self.discovery != "static":
            raise UserError(
                f'gateway.toml: triton.discovery is "{self.discovery}", so it names no replicas to start; write '
                '"static" and a table [[triton.replicas]] for each'
            )
        return self.replicas


def refuse_doubles(table: str, values: list[str]) -> None:
    """ValueError for a value that is there twice."""
    if double := next((value for value in values if values.count(value) > 1), None):
        raise ValueError(f'{table} has "{double}" twice: each needs its own')
