"""What the table [server] of models.toml becomes: flags of tritonserver, settings of a container."""

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from ai102.contract import contract_from_text
from ai102.contract.server import HostPolicy, RateLimit, ServerResource
from ai102.serve.arguments import server_arguments
from ai102.serve.container import ContainerSettings, compose_values, container_settings
from tests.serve.settings import CONTRACT, EVERY_KEY, contract_with

MB = 1 << 20
# By the table inside [server]; "" is [server] itself.
FLAGS = {
    "": [
        "--exit-timeout-secs=7", "--exit-on-error=true", "--strict-readiness=true",
        "--model-load-thread-count=2", "--model-load-retry-count=1",
        "--http-thread-count=4",
    ],
    "grpc": [
        "--grpc-infer-allocation-pool-size=16", "--grpc-max-connection-age=300000",
        "--grpc-max-connection-age-grace=30000",
    ],
    "memory": [
        f"--pinned-memory-pool-byte-size={128 * MB}",
        f"--cuda-memory-pool-byte-size=0:{128 * MB}", f"--cuda-memory-pool-byte-size=10:{96 * MB}",
        f"--cuda-virtual-address-size=0:{2048 * MB}", "--buffer-manager-thread-count=2",
    ],
    "shared_memory": [
        f"--backend-config=python,shm-default-byte-size={2 * MB}",
        f"--backend-config=onnxruntime,shm-default-byte-size={2 * MB}",
        f"--backend-config=openvino,shm-default-byte-size={2 * MB}",
        f"--backend-config=python,shm-growth-byte-size={3 * MB}",
        f"--backend-config=onnxruntime,shm-growth-byte-size={3 * MB}",
        f"--backend-config=openvino,shm-growth-byte-size={3 * MB}",
    ],
    "cache": [f"--cache-config=local,size={16 * MB}"],
    "gpus": [
        "--min-supported-compute-capability=7.5", "--enable-peer-access=false", "--allow-gpu-metrics=false",
        "--model-load-gpu-limit=0:0.8", "--model-load-gpu-limit=1:0.625",
    ],
    "host_policies": [
        "--host-policy=cpu,cpu-cores=0-0", "--host-policy=gpu_0,numa-node=0", "--host-policy=gpu_0,cpu-cores=0-0",
    ],
    "rate_limit": [
        "--rate-limit=execution_count", "--rate-limit-resource=memory:4:0", "--rate-limit-resource=disk:2",
    ],
}  # fmt: skip


def test_every_key_becomes_its_flag() -> None:
    assert server_arguments(contract_with(EVERY_KEY)) == [flag for flags in FLAGS.values() for flag in flags]


def unset(table: BaseModel, path: str) -> Iterator[str]:
    """The keys of the table, and of the tables inside, that have their default."""
    for name in type(table).model_fields:
        value, place = getattr(table, name), f"{path}.{name}"
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
        if name not in table.model_fields_set:
            yield place
        for entry in inner:
            if isinstance(entry, BaseModel) and not isinstance(entry, HostPolicy | ServerResource):
                yield from unset(entry, place)


def test_the_table_with_every_key_has_every_key() -> None:
    assert list(unset(contract_with(EVERY_KEY).server, "server")) == []


@pytest.mark.parametrize("server", ["", "[server]\n", '[server]\ntriton = "2.51"\n'])
def test_a_contract_without_settings_leaves_triton_its_defaults(server: str) -> None:
    contract = contract_with(server)
    assert (server_arguments(contract), container_settings(contract)) == (
        [],
        ContainerSettings(shm_size_bytes=None, ipc="private", pid="private", grace_s=15),
    )


def paths(table: BaseModel) -> Iterator[str]:
    """Every key of the table, with the tables inside that have names of their own."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        inner = isinstance(value, BaseModel) and not isinstance(value, RateLimit)
        yield from (f"{name}.{key}" for key in paths(value)) if inner else (name,)


def test_the_page_says_of_every_key_when_to_change_it() -> None:
    page = (CONTRACT.parent / "docs/triton-from-pip.md").read_text(encoding="utf-8")
    keys = set(paths(contract_with(EVERY_KEY).server)) - {"triton"}
    assert {key for key in keys if not re.search(rf"^\|[^|]*`{re.escape(key)}`", page, re.M)} == set()


def test_the_contract_of_this_repository_is_one_of_them() -> None:
    assert server_arguments(contract_from_text(CONTRACT.read_text(encoding="utf-8"), CONTRACT)) == []


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("shared_memory = { size_mb = 64 }", ContainerSettings(64 * MB, "private", "private", 15)),
        ('shared_memory = { clients = "system" }', ContainerSettings(None, "host", "private", 15)),
        ('shared_memory = { clients = "cuda" }', ContainerSettings(None, "host", "host", 15)),
        ("exit_timeout_s = 60", ContainerSettings(None, "private", "private", 70)),
    ],
)
def test_what_no_flag_can_say_becomes_settings_of_the_container(table: str, settings: ContainerSettings) -> None:
    assert container_settings(contract_with(f"[server]\n{table}")) == settings


def test_compose_takes_everything_from_its_values() -> None:
    assert compose_values(contract_with(""), "256m") == {
        "AI102_TRITON_ARGUMENTS": "",
        "AI102_TRITON_SHM_SIZE": "256m",
        "AI102_TRITON_IPC": "private",
        "AI102_TRITON_PID": "",
        "AI102_TRITON_GRACE": "15s",
    }
    values = compose_values(contract_with(EVERY_KEY), "256m")
    assert values["AI102_TRITON_SHM_SIZE"] == f"{1024 * MB}b"
    assert values["AI102_TRITON_ARGUMENTS"].split() == server_arguments(contract_with(EVERY_KEY))


def test_no_argument_means_anything_to_a_shell() -> None:
    assert [flag for flag in server_arguments(contract_with(EVERY_KEY)) if not re.fullmatch(r"[\w.,:=-]+", flag)] == []


@pytest.mark.parametrize(
    ("triton", "clients", "arguments"),
    [
        ("2.51", "system", []),
        ("2.67", "cuda", []),
        ("2.68", "none", []),
        ("2.68", "system", ["--allow-client-shm=true"]),
        ("3.0", "cuda", ["--allow-client-shm=true"]),
    ],
)
def test_a_later_triton_is_told_that_clients_share_memory(triton: str, clients: str, arguments: list[str]) -> None:
    table = f'[server]\ntriton = "{triton}"\nshared_memory = {{ clients = "{clients}" }}'
    assert server_arguments(contract_with(table)) == arguments


def test_the_rate_limiter_is_switched_on_without_resources_too() -> None:
    assert server_arguments(contract_with("[server.rate_limit]")) == ["--rate-limit=execution_count"]
