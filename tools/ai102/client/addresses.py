"""The servers of a client, and which of them it asks next."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ai102.errors import UserError
from ai102.host.listen import host_and_port

# The protocol of each scheme, and whether it is inside TLS.
SCHEMES = {"http": ("http", False), "grpc": ("grpc", False), "https": ("http", True), "grpcs": ("grpc", True)}
# A server that did not answer is left alone for so long, unless every server rests.
REST_S = 5.0


class Target(NamedTuple):
    """The parts of a URL: "http" or "grpc", inside TLS or not, and each HOST:PORT."""

    protocol: str
    is_tls: bool
    addresses: tuple[str, ...]


def target_from_url(url: str) -> Target:
    """From "grpc://a:8001,b:8001" or "https://gateway:8080". Raises UserError for any other text."""
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
    """The protocol and each HOST:PORT of a URL without TLS. Raises UserError for any other text."""
    target = target_from_url(url)
    if target.is_tls:
        raise UserError(f'"{url}" is for TLS, which this command does not speak: write {target.protocol}://HOST:PORT')
    return target.protocol, target.addresses


def one_address_from_url(url: str) -> str:
    """The HOST:PORT of a URL without TLS that names one server. Raises UserError for any other text."""
    _, addresses = addresses_from_url(url)
    if len(addresses) > 1:
        raise UserError(f'"{url}" names {len(addresses)} servers: name one')
    return addresses[0]


def is_here(address: str) -> bool:
    """Whether the address is one of this host, as far as that is known without a name server."""
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
    """Takes turns among the addresses that answer; threads may share it.

    A server that failed rests for REST_S. Then one call tries it, while the others leave it alone until that one is
    answered.
    """

    addresses: Sequence[str]
    clock: Callable[[], float]
    _turn: int = 0
    _rests_until: dict[str, float] = field(default_factory=dict)  # of servers that failed and have not answered since
    _answered_at: dict[str, float] = field(default_factory=dict)  # of servers that answered and have not failed since
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pick(self, tried: Sequence[str] = ()) -> str:
        """The next address in turn that does not rest, those not yet tried for this request first."""
        if len(self.addresses) == 1:
            return self.addresses[0]
        with self._lock:
            turn = [*self.addresses[self._turn :], *self.addresses[: self._turn]]
            self._turn = (self._turn + 1) % len(self.addresses)
            awake = [address for address in turn if self._is_awake(address)]
            candidates = awake or turn
            chosen = next((address for address in candidates if address not in tried), candidates[0])
            if chosen in self._rests_until:
                self._rests_until[chosen] = self.clock() + REST_S
            return chosen

    def awake(self, besides: Collection[str]) -> list[str]:
        """The addresses that do not rest, without those named."""
        with self._lock:
            return [address for address in self.addresses if address not in besides and self._is_awake(address)]

    def has_answered(self, address: str) -> bool:
        """Whether the server has answered since it last failed."""
        return address in self._answered_at

    def answered(self, address: str) -> None:
        with self._lock:
            self._rests_until.pop(address, None)
            self._answered_at[address] = self.clock()

    def failed(self, address: str) -> None:
        with self._lock:
            self._rest(address)

    def was_silent(self, address: str, since: float) -> None:
        """A call got no answer in its time, which counts as a failure unless another call was answered meanwhile."""
        with self._lock:
            if self._answered_at.get(address, since) <= since:
                self._rest(address)

    def _is_awake(self, address: str) -> bool:
        return self._rests_until.get(address, 0.0) <= self.clock()

    def _rest(self, address: str) -> None:
        self._answered_at.pop(address, None)
        self._rests_until[address] = self.clock() + REST_S
