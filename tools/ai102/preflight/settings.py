"""The checks of models.toml's table [server] against the machine; None where the contract sets nothing to check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ai102.contract import Contract, ServedModel, network_step
from ai102.preflight.finding import MB, Finding, gigabytes, megabytes, version
from ai102.preflight.machine import Machine

PYTHON_INITIAL_MB = 1  # Triton's default


def pinned_pool(machine: Machine, contract: Contract) -> Finding | None:
    """Pinned memory is never swapped out; Triton takes the pool once on each NUMA node of a host policy."""
    policies = contract.server.host_policies.values()
    nodes = len({policy.numa_node for policy in policies if policy.numa_node is not None}) or 1
    return _at_most_half(machine, "memory.pinned_pool_mb", contract.server.memory.pinned_pool_mb, nodes)


def response_cache(machine: Machine, contract: Contract) -> Finding | None:
    """The server takes the whole cache when it starts, and does not start without it."""
    return _at_most_half(machine, "response_cache_mb", contract.server.response_cache_mb)


def python_models(machine: Machine, contract: Contract) -> Finding | None:
    """Each process of a Python model takes its part of /dev/shm before it is loaded."""
    shared = contract.server.shared_memory
    each_mb = shared.python_initial_mb or PYTHON_INITIAL_MB
    processes = _python_processes(contract)
    needed = processes * each_mb * MB
    size = machine.memory.shared_bytes if shared.size_mb is None else shared.size_mb * MB
    place = "/dev/shm" if shared.size_mb is None else "server.shared_memory.size_mb"
    advice = "lower server.shared_memory.python_initial_mb, or give /dev/shm more"
    found = f"{processes} processes with {each_mb} MB each"
    return Finding(found, f"no more than {place}, {megabytes(size or 0)}", needed <= (size or 0), advice)


def shared_memory_size(machine: Machine, contract: Contract) -> Finding | None:
    """What lies in a container's /dev/shm counts as its memory, and a full memory ends the server."""
    return _at_most_half(machine, "shared_memory.size_mb", contract.server.shared_memory.size_mb)


def gpu_pools(machine: Machine, contract: Contract) -> Finding | None:
    """Pools and load limits name GPUs that are there, and a pool fits into its GPU below the limit."""
    pools, limits = contract.server.memory.cuda_pool_mb, contract.server.model_load.gpu_limit_percent
    named = sorted({*pools, *limits, *contract.server.memory.cuda_address_mb}, key=int)
    if not named:
        return None
    sizes = {str(gpu.number): gpu.memory_bytes for gpu in machine.gpus.gpus}
    found = f"[server] has settings for GPU {', '.join(named)}"
    if missing := [gpu for gpu in named if gpu not in sizes]:
        there = f"GPUs {', '.join(sizes)}" if sizes else "no GPU"
        return Finding(found, f"GPUs that are there: {there}", False, f"drop the settings of GPU {missing[0]}")
    for gpu, pool_mb in pools.items():
        size, percent = sizes[gpu], limits.get(gpu, 100.0)
        if size is not None and pool_mb * MB > size * percent / 100:
            return Finding(
                f"server.memory.cuda_pool_mb of GPU {gpu} is {pool_mb}",
                f"at most {percent:g} % of its {gigabytes(size)}",
                False,
                "write less: no model could be loaded beside it",
            )
    return Finding(found, "GPUs that are there", True)


def compute_capability(machine: Machine, contract: Contract) -> Finding | None:
    """Triton does not use a GPU below the minimum, and says so in its log alone."""
    least = contract.server.gpus.min_compute_capability
    if least is None or not machine.gpus.gpus:
        return None
    low = [gpu for gpu in machine.gpus.gpus if version(gpu.compute_capability) < version(least)]
    found = ", ".join(f"GPU {gpu.number}: {gpu.compute_capability}" for gpu in low or machine.gpus.gpus)
    advice = "lower server.gpus.min_compute_capability, or leave that GPU out by CUDA_VISIBLE_DEVICES"
    return Finding(found, f"at least {least}", not low, advice)


def host_policies(machine: Machine, contract: Contract) -> Finding | None:
    """An instance whose NUMA node or cores do not exist fails to load."""
    present = {"cpu", *(f"gpu_{gpu.number}" for gpu in machine.gpus.gpus)}
    policies = {name: policy for name, policy in contract.server.host_policies.items() if name in present}
    if not policies:
        return None
    nodes, cores = machine.processor.numa_nodes, machine.processor.allowed
    wanted = f"NUMA nodes {_span(nodes)} and cores {_span(cores)}"
    for name, policy in policies.items():
        first, last = policy.core_range or (cores[0], cores[0])
        if policy.numa_node not in (None, *nodes):
            found = f"server.host_policies.{name}.numa_node is {policy.numa_node}"
            return Finding(found, wanted, False, "write a node of this machine, or drop it")
        if not set(range(first, last + 1)) <= set(cores):
            found = f'server.host_policies.{name}.cpu_cores is "{policy.cpu_cores}"'
            return Finding(found, wanted, False, "write cores that this process may use, or drop it")
    return Finding(f"[server] has policies for {', '.join(policies)}", wanted, True)


def without_effect(machine: Machine, contract: Contract) -> Finding | None:
    """Settings that need another one to act."""
    idle = list(_idle(contract))
    if not idle:
        return None
    return Finding("; ".join(what for what, _ in idle), "settings that act", False, "; ".join(cure for _, cure in idle))


def _at_most_half(machine: Machine, key: str, size_mb: int | None, nodes: int = 1) -> Finding | None:
    if size_mb is None:
        return None
    half = machine.memory.usable_bytes // 2
    found = f"server.{key} is {size_mb}" + (f", on {nodes} NUMA nodes" if nodes > 1 else "")
    return Finding(found, f"at most half of the memory, {gigabytes(half)}", size_mb * MB * nodes <= half, "write less")


def _idle(contract: Contract) -> Iterator[tuple[str, str]]:
    """What is set in vain, and what to do."""
    server = contract.server
    cached = [name for name, network in contract.networks.items() if network.response_cache]
    cached += [name for name, ensemble in contract.ensembles.items() if ensemble.response_cache]
    if cached and server.response_cache_mb is None:
        yield f"response_cache of {', '.join(cached)}", "write server.response_cache_mb = 256"
    if server.response_cache_mb is not None and not cached:
        yield "server.response_cache_mb", "write response_cache = true where requests repeat, or drop it"
    limited = [name for name, network in contract.networks.items() if network.instances.rate_limiter]
    if limited and server.rate_limit is None:
        yield f"rate_limiter of {', '.join(limited)}", "add [server.rate_limit]"
    if server.rate_limit is not None and not limited:
        yield "server.rate_limit", "give networks a rate_limiter, or drop it"


def _python_processes(contract: Contract) -> int:
    """On tritonserver from pip, where networks run in a Python-based backend too."""
    models = {model.name: model for model in contract.served_models}
    return sum(_instances(model, contract, models) for model in models.values())


def _instances(model: ServedModel, contract: Contract, models: Mapping[str, ServedModel]) -> int:
    network = model.network if model.kind == "onnx" else None
    if model.kind == "ensemble":
        if not contract.ensembles[model.name].in_one_process:
            return 0
        network = network_step(contract.ensembles[model.name], models).network
    return contract.networks[network].instances.count if network else 1


def _span(numbers: tuple[int, ...]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))
