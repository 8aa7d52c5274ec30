"""What a proxy knows of the replicas behind it."""

from __future__ import annotations

from dataclasses import dataclass

from ai102.errors import UserError
from ai102.gateway.policy import Gateway


@dataclass(frozen=True)
class ReplicaState:
    """One replica as the running proxy sees it; `busy` requests are at it now."""

    name: str
    is_up: bool
    is_drained: bool
    busy: int


def check_name(gateway: Gateway, name: str) -> None:
    """UserError for a replica that gateway.toml does not have, and where it has none: those drain by leaving."""
    if gateway.triton.discovery != "static":
        raise UserError(
            f'gateway.toml: triton.discovery is "{gateway.triton.discovery}", and only replicas with a name there are '
            f"drained by hand: a pod that is deleted, or not ready, gets no new calls"
        )
    names = [replica.name for replica in gateway.triton.replicas]
    if name not in names:
        raise UserError(f"there is no replica {name!r} in gateway.toml; there are {', '.join(names)}")
