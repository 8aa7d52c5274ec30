"""The stack of compose.yaml: its first answer, what its networks let through, its secrets, each process killed."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ai102.compose.first_question import token_for_compose
from ai102.compose.program import compose_command
from ai102.compose.secrets import FOLDER, SOURCES
from ai102.compose.settings import SUBNET
from ai102.compose.stack import Stack
from ai102.errors import UserError
from ai102.images.docker import Docker
from ai102.images.layout import Image
from tests.containers.conftest import LOGS, ROOT, check_locked_down, inspected, note, wait_until
from tests.containers.load import Calls, steady, ways_to

SERVICES = ("triton-a", "triton-b", "gateway", "issuer", "api", "worker")
CA = ROOT / FOLDER / "certs" / "ca.pem"
# What may fail while a service is away; of all other ways not one call may.
MAY_FAIL = {
    "triton-a": set[str](),
    "triton-b": set[str](),
    "gateway": {"gRPC", "REST", "API", "issuer"},
    "issuer": {"issuer"},
    "api": {"API"},
    "worker": set(),
}
BACK_WITHIN_S = 120


@pytest.fixture(scope="module")
def stack(docker: Docker, images: dict[str, str], models: Image) -> Iterator[Stack]:
    """The running stack, started by the command that `make compose` ends with."""
    if not _compose_is_there(docker):
        pytest.skip(
            "Docker Compose 2 is missing: docker compose, docker-compose on PATH, or `ai102 parts fetch docker-compose`"
        )
    running = Stack(docker, ROOT, note)
    try:
        note(_up().stdout)
        yield running
    finally:
        LOGS.mkdir(parents=True, exist_ok=True)
        for service in SERVICES:
            with (LOGS / f"{service}.log").open("wb") as log:
                subprocess.run([docker.program, "logs", container(service)], stdout=log, stderr=log, check=False)
        running.down()


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return token_for_compose(stack)


def container(service: str) -> str:
    return f"ai102-{service}-1"


def asker(token: str = "") -> httpx.Client:
    """A client of the gateway's REST."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    context = ssl.create_default_context(cafile=CA)
    return httpx.Client(verify=context, base_url="https://localhost:8080", headers=headers, timeout=10)


def state(docker: Docker, service: str) -> dict[str, object]:
    return dict(inspected(docker, container(service))["State"])


def is_healthy(docker: Docker, service: str) -> bool:
    facts = inspected(docker, container(service))["State"]
    return bool(facts["Running"] and facts["Health"]["Status"] == "healthy")


def test_a_second_start_gives_its_first_answer_and_the_time_is_noted(stack: Stack) -> None:
    stack.down()
    began = time.monotonic()
    note(_up().stdout)
    seconds = time.monotonic() - began
    note(f"stopped stack to first answer: {seconds:.1f} s")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_locked_down_and_limited(docker: Docker, stack: Stack, service: str) -> None:
    wait_until(lambda: is_healthy(docker, service), f"{service} is healthy", 60)
    facts = inspected(docker, container(service))
    check_locked_down(facts)
    assert facts["Config"]["User"] not in ("", "0", "0:0")
    assert facts["State"]["Health"]["Status"] == "healthy"


def test_only_the_gateway_is_published(docker: Docker, stack: Stack) -> None:
    published = {
        service: sorted(
            port for port, places in inspected(docker, container(service))["NetworkSettings"]["Ports"].items() if places
        )
        for service in SERVICES
    }
    assert published == {**{service: [] for service in SERVICES}, "gateway": ["8080/tcp", "8081/tcp"]}


def test_no_secret_is_in_what_docker_tells_of_a_container_or_in_the_files_of_the_stack(
    docker: Docker, stack: Stack
) -> None:
    secrets = [(ROOT / FOLDER / name).read_text().strip() for name in SOURCES if name != "seal_active"]
    words = [line for secret in secrets for line in secret.splitlines() if len(line) > 30]
    texts = [docker.run("inspect", container(service)) for service in SERVICES]
    texts += [
        docker.run("inspect", image) for image in {inspected(docker, container(one))["Image"] for one in SERVICES}
    ]
    texts += [(ROOT / name).read_text() for name in ("compose.yaml", ".env", "build/compose/gateway.toml")]
    assert words
    assert [word[:4] for word in words for text in texts if word in text] == []


@pytest.mark.parametrize("network", ["edge", "api", "issuer", "triton"])
def test_tritons_ports_are_reached_from_its_own_network_alone(
    docker: Docker, stack: Stack, images: dict[str, str], network: str
) -> None:
    members = {row["Name"] for row in inspected(docker, f"ai102_{network}")["Containers"].values()}
    reached = {port: _reaches(docker, images, network, f"{SUBNET}.4", port) for port in (8000, 8001, 8002)}
    assert reached == dict.fromkeys((8000, 8001, 8002), network == "triton")
    if network == "triton":
        assert members == {container("triton-a"), container("triton-b"), container("gateway")}


@pytest.mark.parametrize("service", ["api", "issuer"])
def test_a_service_beside_the_gateway_does_not_reach_triton(docker: Docker, stack: Stack, service: str) -> None:
    code = _knock(f"{SUBNET}.4", 8000)
    assert docker.run("exec", container(service), "python3", "-c", code) == "no"


@pytest.mark.parametrize(
    ("network", "is_reached"), [("edge", False), ("issuer", False), ("triton", False), ("api", True)]
)
def test_the_gateways_listener_without_a_token_is_reached_from_the_apis_network_alone(
    docker: Docker, stack: Stack, images: dict[str, str], network: str, is_reached: bool
) -> None:
    assert _reaches(docker, images, network, f"{SUBNET}.19", 8082) == is_reached


def test_the_friendly_api_answers_through_the_gateway(stack: Stack, token: str) -> None:
    with asker(token) as client:
        assert client.post("/v1/embed", json={"texts": ["A man is eating."]}).status_code == 200
        assert client.get("/").status_code == 200


def test_a_job_is_done_and_fetched_through_the_gateway(stack: Stack, token: str) -> None:
    with asker(token) as client:
        handed = client.post("/v1/jobs", json={"model": "embed_text", "text": "A man is eating."})
        assert handed.status_code == 202, handed.text
        job = client.get(f"/v1/jobs/{handed.json()['id']}", params={"wait": "20s"}, timeout=30).json()
        assert (job["state"], len(job["outputs"][0]["data"])) == ("succeeded", 384)


def test_a_call_without_a_token_is_refused(stack: Stack) -> None:
    with asker() as client:
        assert client.get("/v2/models/classify_image").status_code == 401


@pytest.mark.parametrize("service", SERVICES)
def test_kill_9_of_the_main_process_under_load_brings_it_back_and_stops_nothing_else(
    docker: Docker, stack: Stack, token: str, service: str
) -> None:
    """`docker kill` would switch the restart policy off: the process is killed from outside, as by the kernel."""
    wait_until(lambda: all(is_healthy(docker, one) for one in SERVICES), "the stack is healthy", 180)
    before = state(docker, service)
    with steady(ways_to(CA, token)) as calls:
        wait_until(lambda: all(way.outcomes["OK"] > 20 for way in calls.values()), "calls are answered", 60)
        began = time.monotonic()
        os.kill(int(str(before["Pid"])), signal.SIGKILL)
        wait_until(lambda: _is_back(docker, service, before), f"{service} is back", BACK_WITHIN_S)
        back_s = time.monotonic() - began
        answered = {name: way.outcomes["OK"] for name, way in calls.items()}
        wait_until(
            lambda: all(way.outcomes["OK"] > answered[name] + 20 for name, way in calls.items()),
            "calls are answered again",
            30,
        )
    _record(service, back_s, calls)
    failed = {name: way.failed for name, way in calls.items() if name not in MAY_FAIL[service]}
    assert failed == dict.fromkeys(failed, 0), {name: way.outcomes for name, way in calls.items()}


def _is_back(docker: Docker, service: str, before: dict[str, object]) -> bool:
    return state(docker, service)["StartedAt"] != before["StartedAt"] and is_healthy(docker, service)


def _record(service: str, back_s: float, calls: dict[str, Calls]) -> None:
    """A row for docs/containers.md, printed and kept."""
    cells = [f"{way.failed} of {way.count:,}, {way.longest_gap_s:.1f} s" for way in calls.values()]
    row = f"| {service} | {back_s:.1f} s | {' | '.join(cells)} |"
    note(row)


def _up() -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ai102"), "compose", "up"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def _compose_is_there(docker: Docker) -> bool:
    try:
        compose_command(docker, os.environ)
    except UserError:
        return False
    return True


def _knock(host: str, port: int) -> str:
    return (
        "import socket\n"
        f"try: socket.create_connection(('{host}', {port}), 2).close(); print('yes')\n"
        "except OSError: print('no')"
    )


def _reaches(docker: Docker, images: dict[str, str], network: str, host: str, port: int) -> bool:
    """Whether a container that joins the network can connect."""
    run = ["run", "--rm", "--network", f"ai102_{network}", "--entrypoint", "python3", images["api"], "-c"]
    return docker.run(*run, _knock(host, port)) == "yes"
