"""The real tritonserver takes every key of [server], and `ai102 serve` gives it what models.toml says."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai102.client import Client
from ai102.errors import UserError
from ai102.preflight import system
from ai102.preflight.profiles import PROFILES
from ai102.preflight.run import judged
from ai102.serve.arguments import server_arguments
from ai102.serve.server import Server
from tests.preflight.machines import FIT
from tests.serve.settings import CONTRACT, EVERY_KEY, contract_with

from .conftest import Files, write_repository
from .onnx_files import identity

pytestmark = pytest.mark.e2e

MB = 1 << 20
FREE_PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
CPU = 'platform: "onnxruntime_onnx"\ninstance_group { kind: KIND_CPU count: 1 %s }\n'
LIMITED = CPU % 'rate_limiter { resources [ { name: "memory" count: 4 } ] }'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files: Files = {"1/model.onnx": identity(), "config.pbtxt": CPU % ""}
    limited: Files = {"1/model.onnx": identity(), "config.pbtxt": LIMITED}
    return write_repository(tmp_path / "model_repository", {"plain": files, "limited": limited})


def options(log: str) -> dict[str, str]:
    """The table of options that tritonserver logs once it has started."""
    return dict(re.findall(r"^\| (\S+) +\| (.*?) +\|$", log, re.M))


def own_regions() -> set[Path]:
    return set(Path("/dev/shm").glob(f"ai102_{os.getpid()}_*"))


def test_tritonserver_takes_every_key_and_says_so(repository: Path) -> None:
    lines: list[str] = []
    # Servers of other tests belong to this process too.
    before = own_regions()
    with Server(repository, **FREE_PORTS, contract=contract_with(EVERY_KEY), log=lines.append) as server:
        regions = [path.stat().st_size for path in own_regions() - before]
        with Client(f"grpc://{server.grpc_url}") as client:
            answer = client.infer("limited", {"x": np.ones((1, 2), np.float32)}, ["y"])["y"]
    said = options("\n".join(lines))
    wanted = {
        "exit_timeout": "7",
        "strict_readiness": "1",
        "min_supported_compute_capability": "7.5",
        "pinned_memory_pool_byte_size": str(128 * MB),
        "cuda_memory_pool_byte_size{0}": str(128 * MB),
        "cuda_memory_pool_byte_size{10}": str(96 * MB),
        "rate_limit": "EXEC_COUNT",
        "rate_limit_resource[0]": '{"name":"disk", "count":2 "device":-1}',
        "rate_limit_resource[1]": '{"name":"memory", "count":4 "device":0}',
        "cache_enabled": "1",
    }
    assert {key: said.get(key) for key in wanted} == wanted
    assert answer.tolist() == [[1.0] * 2]
    assert regions
    assert all(size >= 2 * MB for size in regions)


def test_every_flag_stands_in_the_help_of_tritonserver() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("tritonserver"), "--help"], capture_output=True, text=True, timeout=60
    )
    known = set(re.findall(r"^  (--\S+)", done.stdout + done.stderr, re.M))
    assert {argument.partition("=")[0] for argument in server_arguments(contract_with(EVERY_KEY))} - known == set()


def test_tritonserver_refuses_what_the_contract_calls_too_little(repository: Path) -> None:
    short = contract_with('[server.rate_limit]\nresources = [{ name = "memory", count = 3 }]')
    with pytest.raises(
        UserError,
        match=r'"memory.*is limited to 3 .*the minimum required count is 4: give the server as much: rate_limit',
    ):
        Server(repository, **FREE_PORTS, contract=short).start()


HUGE_MB = 1 << 30  # 1 PiB


@pytest.mark.parametrize(
    ("table", "check", "reason"),
    [
        (f"response_cache_mb = {HUGE_MB}", "response cache", "response_cache_mb in models.toml"),
        (f"shared_memory = {{ python_initial_mb = {HUGE_MB} }}", "Python models", "to requested size .*--shm-size"),
        ('host_policies = { cpu = { cpu_cores = "9000-9001" } }', "host policies", "host_policies in models.toml"),
        ("host_policies = { cpu = { numa_node = 900 } }", "host policies", "host_policies in models.toml"),
    ],
)
def test_tritonserver_does_not_start_with_what_preflight_calls_unfit(
    repository: Path, table: str, check: str, reason: str
) -> None:
    contract = contract_with(f"[server]\n{table}")
    machine = replace(FIT, processor=system.processor(Path("/")), memory=system.memory(Path("/")))
    unfit = [line.name for line in judged(machine, PROFILES["dev"], contract) if line.verdict == "unfit"]
    with pytest.raises(UserError, match=reason):
        Server(repository, **FREE_PORTS, models=["plain"], contract=contract).start()
    assert check in unfit


def served(repository: Path, *arguments: str) -> dict[str, str]:
    """The options of the server that `ai102 serve` starts, which is then stopped by TERM."""
    command = [sys.executable, "-m", "ai102", "serve", "--repository", str(repository), "--model", "plain"]
    ports = [part for protocol in ("http", "grpc", "metrics") for part in (f"--{protocol}-port", "0")]
    log = repository.with_name("log")
    with (
        log.open("w") as sink,
        subprocess.Popen([*command, *ports, *arguments], stdout=subprocess.PIPE, stderr=sink, text=True) as process,
    ):
        assert process.stdout is not None
        ready = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=30)
    assert (ready.startswith("ready: "), status) == (True, 0), log.read_text()
    return options(log.read_text())


def test_serve_takes_the_contract_beside_the_repository(repository: Path) -> None:
    pools = "[server.memory]\npinned_pool_mb = 5\n"
    repository.with_name("models.toml").write_text(f"{CONTRACT.read_text(encoding='utf-8')}\n{pools}", encoding="utf-8")
    assert served(repository)["pinned_memory_pool_byte_size"] == str(5 * MB)


def test_an_argument_of_the_user_comes_last(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    pools = "[server.memory]\npinned_pool_mb = 5\n"
    file.write_text(f"{CONTRACT.read_text(encoding='utf-8')}\n{pools}", encoding="utf-8")
    own = served(repository, "--contract", str(file), "--", "--pinned-memory-pool-byte-size=4096")
    assert own["pinned_memory_pool_byte_size"] == "4096"


def test_a_repository_without_a_contract_is_served_with_tritons_defaults(repository: Path) -> None:
    assert served(repository)["pinned_memory_pool_byte_size"] == str(256 * MB)
