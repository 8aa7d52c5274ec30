"""The table [server] of models.toml against the machine that is to serve it."""

from dataclasses import replace

import pytest

from ai102.contract import Contract, contract_from_text
from ai102.preflight.machine import Machine
from ai102.preflight.profiles import PROFILES, Profile
from ai102.preflight.run import Verdict, judged
from tests.preflight.machines import FIT, GIB, NO_GPUS, machine
from tests.serve.settings import CONTRACT, EVERY_KEY, contract_with

SMALL = machine("memory", total_bytes=4 * GIB, shared_bytes=64 << 20)
NO_GPU = replace(FIT, gpus=NO_GPUS)
ONE_NODE = machine("processor", numa_nodes=(0,), allowed=(0, 1, 2, 3))

# (table, check, profile, machine, verdict, what its line says)
ROWS: list[tuple[str, str, Profile, Machine, Verdict, str]] = [
    ("[server.memory]\npinned_pool_mb = 3000", "pinned pool", "gpu", SMALL, "unfit",
     "server.memory.pinned_pool_mb is 3000, wanted at most half of the memory, 2.1 GB: write less"),
    ("[server.memory]\npinned_pool_mb = 3000", "pinned pool", "dev", SMALL, "note", "is 3000"),
    ("[server.memory]\npinned_pool_mb = 2000", "pinned pool", "gpu", SMALL, "ok", "is 2000"),
    ("[server.memory]\npinned_pool_mb = 1500\n[server.host_policies]\ngpu_0 = { numa_node = 0 }\n"
     "gpu_1 = { numa_node = 1 }", "pinned pool", "gpu", SMALL, "unfit", "is 1500, on 2 NUMA nodes"),
    ("[server]\nresponse_cache_mb = 3000", "response cache", "dev", SMALL, "unfit", "response_cache_mb is 3000"),
    ("[server]\nresponse_cache_mb = 256", "response cache", "dev", SMALL, "ok", "response_cache_mb is 256"),
    ("", "Python models", "dev", SMALL, "ok", "12 processes with 1 MB each, wanted no more than /dev/shm, 64 MB"),
    ("[server.shared_memory]\npython_initial_mb = 8", "Python models", "dev", SMALL, "unfit", "12 processes with 8 MB"),
    ("[server.shared_memory]\npython_initial_mb = 8\nsize_mb = 90", "Python models", "production", FIT, "unfit",
     "12 processes with 8 MB each, wanted no more than server.shared_memory.size_mb, 90 MB"),
    ("[server.shared_memory]\nsize_mb = 90", "Python models", "dev", SMALL, "ok", "90 MB"),
    ("[server.shared_memory]\nsize_mb = 4000", "shared memory size", "gpu", SMALL, "note", "size_mb is 4000"),
    ("[server.shared_memory]\nsize_mb = 1024", "shared memory size", "gpu", SMALL, "ok", "size_mb is 1024"),
    ("[server.memory]\ncuda_pool_mb = { 0 = 64, 1 = 64 }", "GPU pools", "gpu", FIT, "ok", "for GPU 0, 1"),
    ("[server.memory]\ncuda_pool_mb = { 2 = 64 }", "GPU pools", "gpu", FIT, "unfit",
     "for GPU 2, wanted GPUs that are there: GPUs 0, 1: drop the settings of GPU 2"),
    ("[server.memory]\ncuda_pool_mb = { 0 = 64 }", "GPU pools", "dev", NO_GPU, "note", "that are there: no GPU"),
    ("[server.memory]\ncuda_pool_mb = { 0 = 30000 }", "GPU pools", "gpu", FIT, "unfit",
     "cuda_pool_mb of GPU 0 is 30000, wanted at most 100 % of its 25.8 GB"),
    ("[server.memory]\ncuda_pool_mb = { 0 = 13000 }\n[server.model_load]\ngpu_limit_percent = { 0 = 50 }",
     "GPU pools", "gpu", FIT, "unfit", "at most 50 % of its 25.8 GB: write less: no model could be loaded beside it"),
    ("[server.model_load]\ngpu_limit_percent = { 3 = 50 }", "GPU pools", "gpu", FIT, "unfit", "for GPU 3"),
    ('[server.gpus]\nmin_compute_capability = "8.6"', "compute capability", "gpu", FIT, "ok", "GPU 0: 8.6, GPU 1: 8.6"),
    ('[server.gpus]\nmin_compute_capability = "8.9"', "compute capability", "gpu", FIT, "unfit", "wanted at least 8.9"),
    ('[server.host_policies]\ncpu = { numa_node = 1, cpu_cores = "0-15" }', "host policies", "dev", FIT, "ok",
     "policies for cpu, wanted NUMA nodes 0, 1 and cores 0-15"),
    ("[server.host_policies]\ncpu = { numa_node = 1 }", "host policies", "dev", ONE_NODE, "unfit",
     "host_policies.cpu.numa_node is 1, wanted NUMA nodes 0 and cores 0-3"),
    ('[server.host_policies]\ncpu = { cpu_cores = "0-7" }', "host policies", "dev", ONE_NODE, "unfit",
     'host_policies.cpu.cpu_cores is "0-7", wanted'),
    ('[server.host_policies]\ngpu_0 = { cpu_cores = "0-99" }', "host policies", "gpu", FIT, "unfit", "0-99"),
    ("[server.rate_limit]", "without effect", "production", FIT, "note",
     "server.rate_limit, wanted settings that act: give networks a rate_limiter, or drop it"),
    ("[server]\nresponse_cache_mb = 256", "without effect", "production", FIT, "note", "response_cache_mb"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "name", "profile", "found", "verdict", "words"),
    ROWS,
    ids=[f"{number} {row[1]} {row[4]}" for number, row in enumerate(ROWS)],
)
def test_a_setting_is_compared_with_the_machine(
    table: str, name: str, profile: Profile, found: Machine, verdict: Verdict, words: str
) -> None:
    lines = judged(found, PROFILES[profile], contract_with(table))
    line = next(line for line in lines if line.name == name)
    whole = ": ".join([f"{line.found}, wanted {line.wanted}", *([line.advice] if line.advice else [])])
    assert (line.verdict, words in whole) == (verdict, True), whole


def changed(old: str, new: str) -> Contract:
    text = CONTRACT.read_text(encoding="utf-8")
    assert old in text
    return contract_from_text(text.replace(old, new, 1), CONTRACT)


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (
            changed(
                "instances = { count = 1, threads = 1 }", "instances = { count = 1, rate_limiter = { priority = 2 } }"
            ),
            ("rate_limiter of digits", "add [server.rate_limit]"),
        ),
        (
            changed('outputs = ["scores"]', 'outputs = ["scores"]\nresponse_cache = true'),
            ("response_cache of score_image", "write server.response_cache_mb = 256"),
        ),
    ],
)
def test_a_network_that_asks_for_what_the_server_has_not_is_told(contract: Contract, words: tuple[str, str]) -> None:
    line = next(line for line in judged(FIT, PROFILES["production"], contract) if line.name == "without effect")
    assert (line.verdict, line.found, line.advice) == ("note", *words)


def test_settings_of_gpus_that_are_not_there_do_not_hinder_a_server_without_any() -> None:
    policy = '[server.host_policies]\ngpu_0 = { cpu_cores = "0-99" }\n[server.gpus]\nmin_compute_capability = "8.9"'
    names = [line.name for line in judged(NO_GPU, PROFILES["dev"], contract_with(policy))]
    assert {"host policies", "compute capability"} & set(names) == set()


def test_a_process_of_each_instance_counts() -> None:
    two = changed("instances = { count = 1, threads = 1 }", "instances = { count = 3, threads = 1 }")
    line = next(line for line in judged(FIT, PROFILES["dev"], two) if line.name == "Python models")
    # digits_fp32, digits_int8 and the two pipelines that run digits in one process have two more each.
    assert line.found == "20 processes with 1 MB each"


def test_every_key_at_once_is_judged() -> None:
    lines = judged(FIT, PROFILES["gpu"], contract_with(EVERY_KEY))
    assert [line.name for line in lines if line.verdict == "unfit"] == ["GPU pools"]  # it names GPU 10
