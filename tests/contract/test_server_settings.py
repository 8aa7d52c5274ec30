"""The table [server]: what contradicts itself, or the networks, is one line."""

from pathlib import Path

import pytest

from ai102.contract import contract_from_text
from ai102.errors import UserError

CONTRACT = Path(__file__).parent.parent.parent / "models.toml"

# (the table, its error line)
MISTAKES = {
    "unknown key": ("[server]\nmemry = {}", "server.memry is not a key; did you mean memory?"),
    "a pool for every GPU": (
        "[server.memory]\ncuda_pool_mb = 64",
        "server.memory.cuda_pool_mb is 64: it should be a table; write for example cuda_pool_mb = { 0 = 64 }",
    ),
    "a GPU without number": (
        "[server.memory]\ncuda_pool_mb = { gpu0 = 64 }",
        'server.memory.cuda_pool_mb holds "gpu0": write the number of a GPU, as in cuda_pool_mb = { 0 = 64 }',
    ),
    "a GPU of address space without number": (
        "[server.memory]\ncuda_address_mb = { 00 = 64 }",
        'server.memory.cuda_address_mb holds "00": write the number of a GPU, as in cuda_address_mb = { 0 = 1024 }',
    ),
    "a negative pool": (
        "[server.memory]\npinned_pool_mb = -1",
        "server.memory.pinned_pool_mb is -1: it should be greater than or equal to 0; "
        "write for example pinned_pool_mb = 256",
    ),
    "a fraction for a percentage": (
        "[server.model_load]\ngpu_limit_percent = { 0 = 0.8 }",
        "server.model_load.gpu_limit_percent.0 is 0.8: it should be greater than or equal to 1; "
        "write for example gpu_limit_percent = { 0 = 80 }",
    ),
    "more than the whole GPU": (
        "[server.model_load]\ngpu_limit_percent = { 0 = 180 }",
        "server.model_load.gpu_limit_percent.0 is 180: it should be less than or equal to 100; "
        "write for example gpu_limit_percent = { 0 = 80 }",
    ),
    "a size of what the machine has": (
        '[server.shared_memory]\nsize_mb = 64\nclients = "cuda"',
        'server.shared_memory.size_mb is 64 but clients is "cuda": the container then uses /dev/shm of the machine; '
        "drop one of them",
    ),
    "less than one model takes": (
        "[server.shared_memory]\nsize_mb = 4\npython_initial_mb = 8",
        "server.shared_memory.size_mb is 4 but python_initial_mb is 8: no Python model could start; "
        "raise the one or lower the other",
    ),
    "a policy of no device": (
        "[server.host_policies]\ngpu0 = { numa_node = 0 }",
        'server.host_policies holds "gpu0": write cpu, or gpu_0 for the GPU of number 0',
    ),
    "a policy that says nothing": (
        "[server.host_policies]\ncpu = {}",
        'server.host_policies.cpu.numa_node is missing and so is cpu_cores; write for example { cpu_cores = "0-15" }',
    ),
    "cores from the end": (
        '[server.host_policies]\ncpu = { cpu_cores = "9-1" }',
        'server.host_policies.cpu.cpu_cores is "9-1": write the lower number first',
    ),
    "a number for a version": (
        "[server.gpus]\nmin_compute_capability = 7.5",
        "server.gpus.min_compute_capability is 7.5: it should be a valid string; "
        'write for example min_compute_capability = "7.5"',
    ),
    "grace without an age": (
        "[server.grpc]\nmax_connection_age_grace_s = 3",
        "server.grpc.max_connection_age_grace_s is 3 but max_connection_age_s is not set: "
        "no channel would ever be closed; write max_connection_age_s or drop it",
    ),
    "a resource twice": (
        '[server.rate_limit]\nresources = [{ name = "a", count = 1 }, { name = "A", count = 2 }]',
        'server.rate_limit.resources holds "a" twice for the same device: write one count',
    ),
}


@pytest.mark.parametrize(("table", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_says_where_and_what_to_write(table: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        contract_from_text(f"{CONTRACT.read_text(encoding='utf-8')}\n{table}", Path("models.toml"))
    assert str(caught.value) == f"models.toml: {line}"


def contract_of(resources: str, needed: str) -> str:
    """A contract whose network digits needs resources, and whose server has some."""
    text, server = CONTRACT.read_text(encoding="utf-8"), f"[server.rate_limit]\nresources = [{resources}]\n"
    plain = "instances = { count = 1, threads = 1 }"
    limited = f"instances = {{ count = 1, threads = 1, rate_limiter = {{ resources = [{needed}] }} }}"
    assert plain in text
    return f"{text.replace(plain, limited, 1)}\n{server}"


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ('{ name = "memory", count = 4 }', None),
        ('{ name = "MEMORY", count = 4, device = 0 }', None),
        ("", None),
        (
            '{ name = "memory", count = 3 }',
            'server.rate_limit.resources has 3 of "memory", but networks.digits needs 4: write at least that',
        ),
        (
            '{ name = "disk", count = 4 }',
            'server.rate_limit.resources has no "memory", of which networks.digits needs 4: '
            'add { name = "memory", count = 4 }',
        ),
    ],
)
def test_a_server_has_what_each_instance_needs(resources: str, problem: str | None) -> None:
    text = contract_of(resources, '{ name = "memory", count = 4 }')
    if problem is None:
        contract_from_text(text, Path("models.toml"))
    else:
        with pytest.raises(UserError) as caught:
            contract_from_text(text, Path("models.toml"))
        assert str(caught.value) == f"models.toml: {problem}"
