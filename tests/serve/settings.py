"""A table [server] with every key set, for the tests of what becomes of it."""

from pathlib import Path

from ai102.contract import Contract, contract_from_text

CONTRACT = Path(__file__).parent.parent.parent / "models.toml"
EVERY_KEY = """
[server]
triton = "2.51"
exit_timeout_s = 7
exit_on_error = true
strict_readiness = true
http_threads = 4
response_cache_mb = 16
grpc = { kept_requests = 16, max_connection_age_s = 300, max_connection_age_grace_s = 30 }
model_load = { threads = 2, retries = 1, gpu_limit_percent = { 0 = 80, 1 = 62.5 } }
memory = { pinned_pool_mb = 128, cuda_pool_mb = { 10 = 96, 0 = 128 }, cuda_address_mb = { 0 = 2048 }, copy_threads = 2 }
shared_memory = { size_mb = 1024, python_initial_mb = 2, python_growth_mb = 3, clients = "none" }
gpus = { min_compute_capability = "7.5", peer_access = false, metrics = false }
host_policies = { cpu = { cpu_cores = "0-0" }, gpu_0 = { numa_node = 0, cpu_cores = "0-0" } }
rate_limit = { resources = [{ name = "memory", count = 4, device = 0 }, { name = "disk", count = 2 }] }
"""


def contract_with(server: str) -> Contract:
    """The contract of this repository with that table [server] in place of its own."""
    return contract_from_text(f"{CONTRACT.read_text(encoding='utf-8')}\n{server}", Path("models.toml"))
