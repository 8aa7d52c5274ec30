"""The base class of the tables of models.toml, and value types that several of them use."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Letters, digits and _ only: a name becomes a folder, an identifier and a metric label.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Positive = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def checked_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """For validators of IPv4 and IPv6 networks. Raises ValueError for anything else."""
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as err:
            raise ValueError(f'"{network}" is not a network ({err}); write for example "10.0.0.0/8"') from err
    return networks
