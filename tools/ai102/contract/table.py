"""The base of every table of models.toml, and the kinds of values that several of them hold."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Letters, digits and _ only: a name becomes a folder, a Python keyword-free identifier and a metric label.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Positive = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def checked_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """For a validator of address ranges, of IPv4 and IPv6. Raises ValueError for what is none."""
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as err:
            raise ValueError(f'"{network}" is not a network ({err}); write for example "10.0.0.0/8"') from err
    return networks
