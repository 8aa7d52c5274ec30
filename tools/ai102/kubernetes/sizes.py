"""The figures of the manifests: resources, time-outs, disruptions and thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ai102.contract import Contract
from ai102.contract.scaling import Scaling
from ai102.gateway.discovery import Dns
from ai102.kubernetes.footprint import Footprint
from ai102.kubernetes.policy import REPLICAS
from ai102.serve.arguments import MB, server_arguments
from ai102.serve.container import container_settings

# From the moment that a pod is to end until its server is: by then a gateway that finds replicas by DNS must have
# dropped it. The rest is for a slow control plane.
DRAIN_S = Dns(service=REPLICAS).stop_wait_s + 2
# A start beside others on a busy node, with a cold disk, takes several times what it takes alone.
START_FACTOR, LEAST_START_S = 6, 60
# Over the measured peak, which has each model's largest batch: requests of many clients lie beside it.
MEMORY_FACTOR, MEMORY_STEP_MIB = 1.25, 128
# Of /dev/shm, where models.toml does not say.
SHM_MIB = 256


@dataclass(frozen=True)
class Sizes:
    """One replica of an environment, and how many there are."""

    cpu_millicores: int
    memory_mib: int
    shm_mib: int
    start_s: int
    grace_s: int
    arguments: str
    scaling: Scaling
    share: float  # of the measured cores that a replica has

    @property
    def min_available(self) -> int:
        return min_available(self.scaling)

    @property
    def busy_threshold(self) -> float:
        """Of a measured replica's work that one replica of this environment does before another is started."""
        return round(self.scaling.used_percent / 100 * self.share, 4)

    @property
    def in_flight_threshold(self) -> float:
        """Of the calls in flight at a measured replica's full load: more of them wait."""
        return 1.0


def sizes_of(contract: Contract, footprint: Footprint, scaling: Scaling, share: float = 1.0) -> Sizes:
    """For replicas that have `share` of the cores that were measured."""
    container = container_settings(contract)
    memory = math.ceil(footprint.memory_mib * MEMORY_FACTOR / MEMORY_STEP_MIB) * MEMORY_STEP_MIB
    return Sizes(
        cpu_millicores=round(1000 * footprint.server_cores * share),
        memory_mib=memory,
        shm_mib=SHM_MIB if container.shm_size_bytes is None else container.shm_size_bytes // MB,
        start_s=max(LEAST_START_S, math.ceil(footprint.slowest_s * START_FACTOR / share)),
        grace_s=DRAIN_S + container.grace_s,
        arguments=" ".join(server_arguments(contract)),
        scaling=scaling,
        share=share,
    )


def min_available(scaling: Scaling) -> int:
    """Replicas that carry alone what the fewest are meant to carry; one of them may always leave."""
    carrying = math.ceil(scaling.min_replicas * scaling.used_percent / 100)
    return max(min(carrying, scaling.min_replicas - 1), 0 if scaling.min_replicas == 1 else 1)
