"""The table [server] of models.toml as flags of tritonserver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ai102.contract import Contract
from ai102.contract.server import ServerSettings

MB = 1 << 20
# From Triton 26.04 on, clients may not register memory unless the server is told so; before, there was no such flag.
CLIENT_MEMORY_SINCE = (2, 68)
# Our own backends are Python-based ones too, with settings of their own; native ones of these names ignore them.
PYTHON_BACKENDS = ("python", "onnxruntime", "openvino")


def server_arguments(contract: Contract) -> list[str]:
    """Flags for tritonserver; none for what the contract leaves to Triton. None holds a blank or a quote.

    Triton takes the last of a flag that is given twice, so put a user's own behind these.
    """
    return [
        argument for flags in (_server, _protocols, _memory, _gpus, _scheduling) for argument in flags(contract.server)
    ]


def _server(server: ServerSettings) -> Iterator[str]:
    yield from _flag("exit-timeout-secs", server.exit_timeout_s)
    yield from _flag("exit-on-error", server.exit_on_error)
    yield from _flag("strict-readiness", server.strict_readiness)
    yield from _flag("model-load-thread-count", server.model_load.threads)
    yield from _flag("model-load-retry-count", server.model_load.retries)


def _protocols(server: ServerSettings) -> Iterator[str]:
    grpc = server.grpc
    yield from _flag("http-thread-count", server.http_threads)
    yield from _flag("grpc-infer-allocation-pool-size", grpc.kept_requests)
    yield from _flag("grpc-max-connection-age", _times(grpc.max_connection_age_s, 1000))
    yield from _flag("grpc-max-connection-age-grace", _times(grpc.max_connection_age_grace_s, 1000))


def _memory(server: ServerSettings) -> Iterator[str]:
    memory, shared = server.memory, server.shared_memory
    yield from _flag("pinned-memory-pool-byte-size", _times(memory.pinned_pool_mb, MB))
    yield from _by_gpu("cuda-memory-pool-byte-size", {gpu: str(size * MB) for gpu, size in memory.cuda_pool_mb.items()})
    yield from _by_gpu(
        "cuda-virtual-address-size", {gpu: str(size * MB) for gpu, size in memory.cuda_address_mb.items()}
    )
    yield from _flag("buffer-manager-thread-count", memory.copy_threads)
    for setting, size in (("default", shared.python_initial_mb), ("growth", shared.python_growth_mb)):
        for backend in PYTHON_BACKENDS if size is not None else ():
            yield f"--backend-config={backend},shm-{setting}-byte-size={_times(size, MB)}"
    if shared.clients != "none" and tuple(map(int, server.triton.split("."))) >= CLIENT_MEMORY_SINCE:
        yield "--allow-client-shm=true"
    if server.response_cache_mb is not None:
        yield f"--cache-config=local,size={server.response_cache_mb * MB}"


def _gpus(server: ServerSettings) -> Iterator[str]:
    yield from _flag("min-supported-compute-capability", server.gpus.min_compute_capability)
    yield from _flag("enable-peer-access", server.gpus.peer_access)
    yield from _flag("allow-gpu-metrics", server.gpus.metrics)
    limits = {gpu: f"{percent / 100:.4g}" for gpu, percent in server.model_load.gpu_limit_percent.items()}
    yield from _by_gpu("model-load-gpu-limit", limits)


def _scheduling(server: ServerSettings) -> Iterator[str]:
    for name, policy in server.host_policies.items():
        if policy.numa_node is not None:
            yield f"--host-policy={name},numa-node={policy.numa_node}"
        if policy.cpu_cores is not None:
            yield f"--host-policy={name},cpu-cores={policy.cpu_cores}"
    if server.rate_limit is not None:
        yield "--rate-limit=execution_count"
        for resource in server.rate_limit.resources:
            device = "" if resource.device is None else f":{resource.device}"
            yield f"--rate-limit-resource={resource.name}:{resource.count}{device}"


def _flag(name: str, value: float | str | bool | None) -> Iterator[str]:
    if value is not None:
        yield f"--{name}={str(value).lower()}"


def _by_gpu(name: str, values: Mapping[str, str]) -> Iterator[str]:
    for gpu, value in sorted(values.items(), key=lambda item: int(item[0])):
        yield f"--{name}={gpu}:{value}"


def _times(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor
