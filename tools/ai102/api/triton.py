"""Which Triton the API asks when nobody names one: the replicas of the gateway, or the one that `make serve` starts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ai102.serve.addresses import is_answered


class Address(NamedTuple):
    """Of one tritonserver, each as HOST:PORT."""

    http: str
    grpc: str


class Choice(NamedTuple):
    """The URL for the client, and why it is that one, in words that follow it in a sentence."""

    url: str
    why: str


DEFAULT = Address("127.0.0.1:8000", "127.0.0.1:8001")


def chosen(replicas: Sequence[Address], default: Address = DEFAULT) -> Choice:
    """The replicas of gateway.toml; Triton's default ports where a server answers there and at no replica.

    When nobody answers it is the replicas: they may be started later.
    """
    with ThreadPoolExecutor(len(replicas) + 1) as pool:
        *of_replicas, of_default = pool.map(_is_alive, [*replicas, default])
    if of_default and not any(of_replicas):
        return Choice(f"grpc://{default.grpc}", "Triton's default port: no replica of gateway.toml answers")
    words = "the replicas of gateway.toml" if any(of_replicas) else "the replicas of gateway.toml: none answers yet"
    return Choice("grpc://" + ",".join(replica.grpc for replica in replicas), words)


def _is_alive(address: Address) -> bool:
    return is_answered(f"http://{address.http}/v2/health/live")
