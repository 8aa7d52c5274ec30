"""The servers a client may ask, and which of them it asks next."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ai102.errors import UserError

# The protocol of each scheme, and whether it is inside TLS.
SCHEMES = {"http": ("http", False), "grpc": ("grpc", False), "https": ("http", True), "grpcs": ("grpc", True)}
# A server that did not answer is left alone for so long, unless no other is left.
REST_S = 5.0


class Target(NamedTuple):
    """What a URL says: "http" or "grpc", inside TLS or not, and each HOST:PORT."""

    protocol: str
    is_tls: bool
    addresses: tuple[str, ...]


def target_from_url(url: str) -> Target:
    """From "grpc://a:8001,b:8001" or "https://door:8080". Raises UserError when it is no such URL."""
    scheme, separator, rest = url.partition("://")
    hosts = tuple(host.strip().rstrip("/") for host in rest.split(","))
    if not separator or scheme not in SCHEMES or not all(hosts):
        raise UserError(
            f'"{url}" is no address of a Triton: write http://HOST:PORT or grpc://HOST:PORT, with TLS https:// or grpcs://'
        )
    for host in hosts:
        _, colon, port = host.rpartition(":")
        if "/" in host or not colon or not port.isdigit() or not 0 < int(port) < 65536:
            raise UserError(f'"{host}" in "{url}" is no HOST:PORT: write {scheme}://127.0.0.1:8001, several by commas')
    return Target(*SCHEMES[scheme], hosts)


def addresses_from_url(url: str) -> tuple[str, tuple[str, ...]]:
    """The protocol and each HOST:PORT of a URL without TLS. Raises UserError when it is no such URL."""
    target = target_from_url(url)
    if target.is_tls:
        raise UserError(
            f'"{url}" is for TLS, which is not spoken here: write {target.protocol}://HOST:PORT of the server itself'
        )
    return target.protocol, target.addresses


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_here(address: str) -> bool:
    """The address is one of this host, as far as can be told without asking a name server."""
    host, _ = host_and_port(address)
    if host in ("localhost", socket.gethostname()):
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family) as ours:
            ours.bind((host, 0))  # none but an address of ours can be bound
    except (ValueError, OSError):
        return False
    return True


@dataclass
class Balancer:
    """Takes turns among the addresses that answer; threads may share it."""

    addresses: Sequence[str]
    clock: Callable[[], float]
    _turn: int = 0
    _resting: dict[str, float] = field(default_factory=dict)  # until when
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pick(self, tried: Sequence[str] = ()) -> str:
        """The next address in turn that answers, those not yet tried for this request first."""
        with self._lock:
            now = self.clock()
            turn = [*self.addresses[self._turn :], *self.addresses[: self._turn]]
            self._turn = (self._turn + 1) % len(self.addresses)
            awake = [address for address in turn if self._resting.get(address, 0.0) <= now]
            for candidates in (awake, [] if awake else turn):
                if untried := [address for address in candidates if address not in tried]:
                    return untried[0]
            return (awake or turn)[0]

    def failed(self, address: str) -> None:
        with self._lock:
            self._resting[address] = self.clock() + REST_S

    def worked(self, address: str) -> None:
        with self._lock:
            self._resting.pop(address, None)
