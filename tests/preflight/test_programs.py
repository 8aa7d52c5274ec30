"""docker, kubectl and nvidia-smi are asked as they are, also when they are missing, broken or hang.

The programs are shell scripts of those names on PATH: the outermost edge, with answers recorded from the real ones.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ai102.preflight import programs
from ai102.preflight.machine import Docker, Gpu, Gpus, Kubernetes

AddProgram = Callable[[str, str], None]
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_CLUSTER = "The connection to the server localhost:8080 was refused - did you specify the right host or port?"
DOCKER_VERSION = json.dumps({"Client": {"Version": "28.2.2"}, "Server": {"Version": "20.10.24+dfsg1"}})
KUBECTL_VERSION = json.dumps({"clientVersion": {"gitVersion": "v1.36.1"}, "serverVersion": {"gitVersion": "v1.36.3"}})
GIB, MIB = 1 << 30, 1 << 20


@pytest.fixture
def add_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddProgram:
    """Puts a shell script on a PATH that has nothing else but the shell's own folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}")

    def add(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (folder / name).chmod(0o755)

    return add


def docker_script(
    *, version: str = f"echo '{DOCKER_VERSION}'", compose: str = "exit 1", info: str = "echo '{}'"
) -> str:
    return f'case "$1" in version) {version};; compose) {compose};; info) {info};; *) exit 9;; esac'


def test_nothing_is_installed(add_program: AddProgram) -> None:
    assert (programs.docker(), programs.kubernetes(), programs.gpus()) == (
        Docker(None, None, None, False, "no docker on PATH"),
        Kubernetes(None, None, "no kubectl on PATH"),
        Gpus(None, (), "no nvidia-smi on PATH"),
    )


def test_docker_tells_client_server_compose_and_gpus(add_program: AddProgram) -> None:
    add_program("docker", docker_script(compose="echo v2.40.3", info="""echo '{"nvidia":{},"runc":{}}' """))
    assert programs.docker() == Docker("28.2.2", "20.10.24+dfsg1", "2.40.3", True, "")


def test_compose_may_be_a_program_of_its_own(add_program: AddProgram) -> None:
    add_program("docker", docker_script())
    add_program("docker-compose", "echo 2.40.3")
    assert programs.docker() == Docker("28.2.2", "20.10.24+dfsg1", "2.40.3", False, "")


def test_a_docker_without_its_daemon_is_a_client(add_program: AddProgram) -> None:
    client = json.dumps({"Client": {"Version": "28.2.2"}, "Server": None})
    add_program("docker", docker_script(version=f"echo '{client}'; echo '{NO_DAEMON}' >&2; exit 1"))
    assert programs.docker() == Docker("28.2.2", None, None, False, NO_DAEMON)


def test_kubectl_tells_client_and_server(add_program: AddProgram) -> None:
    add_program("kubectl", f"echo '{KUBECTL_VERSION}'")
    assert programs.kubernetes() == Kubernetes("v1.36.1", "v1.36.3", "")


def test_a_kubectl_without_a_cluster_is_a_client(add_program: AddProgram) -> None:
    client = json.dumps({"clientVersion": {"gitVersion": "v1.36.1"}})
    add_program("kubectl", f"echo '{client}'; echo '{NO_CLUSTER}' >&2; exit 1")
    assert programs.kubernetes() == Kubernetes("v1.36.1", None, NO_CLUSTER)


def test_a_program_that_hangs_is_killed_with_what_it_started(add_program: AddProgram, tmp_path: Path) -> None:
    child = tmp_path / "child"
    add_program("kubectl", f"sleep 300 & echo $! > {child}; wait")
    start = time.monotonic()
    found = programs.kubernetes(timeout_s=2.0)
    assert (found.trouble, time.monotonic() - start < 20) == ("kubectl does not answer within 2 s", True)
    deadline = time.monotonic() + 10
    while is_running(int(child.read_text())):
        assert time.monotonic() < deadline
        os.sched_yield()


def is_running(pid: int) -> bool:
    """A process that was killed may stay as a zombie until its parent looks."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_a_program_that_answers_nonsense_is_told(add_program: AddProgram) -> None:
    add_program("docker", "echo nonsense")
    add_program("kubectl", "printf '\\377\\376'")
    add_program("nvidia-smi", "echo nonsense")
    assert (programs.docker().trouble, programs.kubernetes().trouble, programs.gpus().trouble) == (
        "the client names no server",
        "kubectl names no cluster",
        "nvidia-smi names no GPU",
    )


def test_a_program_that_may_not_run_is_told(add_program: AddProgram, tmp_path: Path) -> None:
    (tmp_path / "bin/nvidia-smi").mkdir()
    assert programs.gpus().trouble in ("no nvidia-smi on PATH", "nvidia-smi does not start: Permission denied")


@pytest.mark.parametrize(
    ("rows", "gpus"),
    [
        (
            "0, NVIDIA A10, 8.6, 560.35.03, 23028, 412\\n1, NVIDIA A10, 8.6, 560.35.03, 23028, 20000\\n",
            (
                Gpu(0, "NVIDIA A10", "8.6", 23028 * MIB, 412 * MIB),
                Gpu(1, "NVIDIA A10", "8.6", 23028 * MIB, 20000 * MIB),
            ),
        ),
        ("0, NVIDIA Thor, 11.0, 580.00, [N/A], [N/A]\\n", (Gpu(0, "NVIDIA Thor", "11.0", None, None),)),
    ],
)
def test_nvidia_smi_tells_driver_and_gpus(add_program: AddProgram, rows: str, gpus: tuple[Gpu, ...]) -> None:
    add_program("nvidia-smi", f"printf '{rows}'")
    found = programs.gpus()
    assert (found.gpus, found.trouble, bool(found.driver)) == (gpus, "", True)


def test_a_driver_that_does_not_run_is_told_in_its_own_words(add_program: AddProgram) -> None:
    said = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    add_program("nvidia-smi", f'echo "{said}"; exit 9')
    assert programs.gpus() == Gpus(None, (), said)


@pytest.mark.slow
def test_the_programs_of_this_machine_are_asked() -> None:
    """Whatever is installed here: an answer comes, and what is missing is named."""
    docker, kubernetes = programs.docker(), programs.kubernetes()
    assert bool(docker.server) != bool(docker.trouble)
    assert bool(kubernetes.server) != bool(kubernetes.trouble)
