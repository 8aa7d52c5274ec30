"""The table [server] of models.toml: how tritonserver is started, and what memory it takes.

A key that is not set leaves Triton's own default. `serve/arguments.py` turns the keys into tritonserver's flags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ai102.contract.network import Network
from ai102.contract.table import Positive, Table

GPU_ID = r"0|[1-9][0-9]{0,2}"  # as nvidia-smi and Triton count them
Percent = Annotated[float, Field(ge=1, le=100)]


def _check_gpus(key: str, by_gpu: Mapping[str, object], example: str) -> None:
    if odd := [gpu for gpu in by_gpu if not re.fullmatch(GPU_ID, gpu)]:
        raise ValueError(f'{key} holds "{odd[0]}": write the number of a GPU, as in {key} = {example}')


class ModelLoad(Table):
    """How models are loaded, at the start and later."""

    threads: Positive | None = Field(None, examples=["4"])  # models that are loaded at once
    retries: int | None = Field(None, ge=0, examples=["1"])
    # By GPU: a model is refused while more of the GPU's memory than this is in use.
    gpu_limit_percent: dict[str, Percent] = Field({}, examples=["{ 0 = 80 }"])

    @model_validator(mode="after")
    def _keys_are_gpus(self) -> Self:
        _check_gpus("gpu_limit_percent", self.gpu_limit_percent, "{ 0 = 80 }")
        return self


class Memory(Table):
    """Memory that Triton takes for itself, for tensors on their way to and from a GPU."""

    pinned_pool_mb: int | None = Field(None, ge=0, examples=["256"])  # on each NUMA node of host_policies; 0: none
    cuda_pool_mb: dict[str, Annotated[int, Field(ge=0)]] = Field({}, examples=["{ 0 = 64 }"])
    # By GPU: address space for each implicit state of sequence models, when growable memory is used.
    cuda_address_mb: dict[str, Positive] = Field({}, examples=["{ 0 = 1024 }"])
    copy_threads: int | None = Field(None, ge=0, examples=["2"])  # 0: the thread of the request copies

    @model_validator(mode="after")
    def _keys_are_gpus(self) -> Self:
        _check_gpus("cuda_pool_mb", self.cuda_pool_mb, "{ 0 = 64 }")
        _check_gpus("cuda_address_mb", self.cuda_address_mb, "{ 0 = 1024 }")
        return self


class SharedMemory(Table):
    """Memory that processes share by name, in /dev/shm, and memory of a GPU that they share by handle."""

    # The size of a container's /dev/shm; the machine's own is not changed by it.
    size_mb: Positive | None = Field(None, examples=["1024"])
    # For each process of a Python model, at its start, and what is added when that is used up.
    python_initial_mb: Positive | None = Field(None, examples=["1"])
    python_growth_mb: Positive | None = Field(None, examples=["1"])
    # Which memory clients on the same machine may share with the server.
    clients: Literal["none", "system", "cuda"] = Field("none", examples=['"system"'])

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.clients != "none" and self.size_mb is not None:
            raise ValueError(
                f'size_mb is {self.size_mb} but clients is "{self.clients}": the container then uses /dev/shm of the '
                "machine; drop one of them"
            )
        if self.size_mb is not None and self.size_mb < (self.python_initial_mb or 0):
            raise ValueError(
                f"size_mb is {self.size_mb} but python_initial_mb is {self.python_initial_mb}: "
                "no Python model could start; raise the one or lower the other"
            )
        return self


class Gpus(Table):
    """Which GPUs are used, and how they reach each other."""

    min_compute_capability: str | None = Field(None, pattern=r"^[0-9]{1,2}\.[0-9]$", examples=['"7.5"'])
    peer_access: bool | None = Field(None, examples=["true"])
    metrics: bool | None = Field(None, examples=["true"])  # of each GPU, among Triton's own


class HostPolicy(Table):
    """Where the instances of a device run, and where their memory lies."""

    numa_node: int | None = Field(None, ge=0, examples=["0"])
    cpu_cores: str | None = Field(None, pattern=r"^[0-9]+-[0-9]+$", examples=['"0-15"'])

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.numa_node is None and self.cpu_cores is None:
            raise ValueError('numa_node is missing and so is cpu_cores; write for example { cpu_cores = "0-15" }')
        first, last = self.core_range or (0, 0)
        if first > last:
            raise ValueError(f'cpu_cores is "{self.cpu_cores}": write the lower number first')
        return self

    @property
    def core_range(self) -> tuple[int, int] | None:
        """The first and the last core."""
        if self.cpu_cores is None:
            return None
        first, _, last = self.cpu_cores.partition("-")
        return int(first), int(last)


class ServerResource(Table):
    """How much of a resource the server has: on one device, or on each."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")] = Field(examples=['"memory"'])
    count: Positive = Field(examples=["4"])
    device: int | None = Field(None, ge=0, examples=["0"])  # None: as many on each device


class RateLimit(Table):
    """Run instances by priority and resources: `instances.rate_limiter` of the networks."""

    resources: tuple[ServerResource, ...] = Field((), examples=['[{ name = "memory", count = 4 }]'])

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        # Triton does not tell names apart that differ in case only.
        names = [(resource.name.lower(), resource.device) for resource in self.resources]
        if double := next((name for name, device in names if names.count((name, device)) > 1), None):
            raise ValueError(f'resources holds "{double}" twice for the same device: write one count')
        return self


class Grpc(Table):
    """Connections and buffers of gRPC."""

    kept_requests: Positive | None = Field(None, examples=["32"])  # whose memory is kept for the next requests
    # A channel is closed at this age, and its calls are given so long to end.
    max_connection_age_s: Positive | None = Field(None, examples=["300"])
    max_connection_age_grace_s: Positive | None = Field(None, examples=["30"])

    @model_validator(mode="after")
    def _ages_agree(self) -> Self:
        if self.max_connection_age_grace_s is not None and self.max_connection_age_s is None:
            raise ValueError(
                f"max_connection_age_grace_s is {self.max_connection_age_grace_s} but max_connection_age_s is not set: "
                "no channel would ever be closed; write max_connection_age_s or drop it"
            )
        return self


class ServerSettings(Table):
    """The tritonserver that loads the configs."""

    triton: str = Field("2.51", pattern=r"^[0-9]+\.[0-9]+$", examples=['"2.51"'])
    exit_timeout_s: Positive | None = Field(None, examples=["30"])  # for calls in flight, before the server ends
    exit_on_error: bool | None = Field(None, examples=["true"])  # false: start without the models that fail to load
    strict_readiness: bool | None = Field(None, examples=["true"])  # false: ready although a model is not
    http_threads: Positive | None = Field(None, examples=["8"])
    response_cache_mb: Positive | None = Field(None, examples=["256"])  # for models with response_cache = true
    grpc: Grpc = Field(Grpc(), examples=["{ max_connection_age_s = 300 }"])
    model_load: ModelLoad = Field(ModelLoad(), examples=["{ threads = 4 }"])
    memory: Memory = Field(Memory(), examples=["{ pinned_pool_mb = 256 }"])
    shared_memory: SharedMemory = Field(SharedMemory(), examples=["{ size_mb = 1024 }"])
    gpus: Gpus = Field(Gpus(), examples=['{ min_compute_capability = "7.5" }'])
    host_policies: dict[str, HostPolicy] = Field({}, examples=['{ gpu_0 = { cpu_cores = "0-15" } }'])
    rate_limit: RateLimit | None = Field(None, examples=["{}"])

    @model_validator(mode="after")
    def _policies_have_devices(self) -> Self:
        if odd := [name for name in self.host_policies if not re.fullmatch(f"cpu|gpu_({GPU_ID})", name)]:
            raise ValueError(f'host_policies holds "{odd[0]}": write cpu, or gpu_0 for the GPU of number 0')
        return self


def check_resources(server: ServerSettings, networks: Mapping[str, Network]) -> None:
    """Raises ValueError when an instance would wait for ever: Triton then refuses to load its model.

    Once the server names one resource, Triton has none of those that it does not name.
    """
    if server.rate_limit is None or not server.rate_limit.resources:
        return
    for name, network in networks.items():
        limiter = network.instances.rate_limiter
        for needed in limiter.resources if limiter else ():
            counts = [row.count for row in server.rate_limit.resources if row.name.lower() == needed.name.lower()]
            if not counts:
                raise ValueError(
                    f'server.rate_limit.resources has no "{needed.name}", of which networks.{name} needs '
                    f'{needed.count}: add {{ name = "{needed.name}", count = {needed.count} }}'
                )
            if max(counts) < needed.count:
                raise ValueError(
                    f'server.rate_limit.resources has {max(counts)} of "{needed.name}", but networks.{name} needs '
                    f"{needed.count}: write at least that"
                )
