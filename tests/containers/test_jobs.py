"""The stack with jobs behind Dapr: networks, secrets, and each part killed while jobs are handed in."""

import os
import signal
import time
from collections.abc import Iterator

import httpx
import pytest

from ai102.compose.secrets import FOLDER
from ai102.images.docker import Docker
from ai102.images.layout import Image
from tests.containers.conftest import ROOT, check_locked_down, note, wait_until
from tests.containers.jobs import check, handing_in, is_brought
from tests.containers.own_stack import OwnStack, started

PARTS = ("redis", "postgres", "api-daprd", "worker-daprd")
SERVICES = (*PARTS, "api", "worker", "gateway", "issuer", "triton-a", "triton-b")
# The worker first: its jobs are another's when its lease is over, 60 s later.
KILLED = ("worker", "redis", "postgres", "api-daprd", "worker-daprd", "api")
# While one of them is away, callers do not notice.
UNNOTICED = {"worker", "redis", "api-daprd", "worker-daprd"}
PASSWORDS = ("ledger_password", "broker_password")
# Who may connect to which part; all others may not.
REACHED = {
    "redis:6379": set[str](),
    "postgres:5432": {"api", "worker"},
    "api-daprd:3500": {"api"},
    "worker-daprd:3500": {"worker"},
}
OURS = ("api", "worker", "gateway", "issuer")
# At all places at once, since most do not answer; it prints those that do.
KNOCK = """\
import socket
from concurrent.futures import ThreadPoolExecutor

def knock(place):
    try:
        socket.create_connection(place[1:], 2).close()
    except OSError:
        return ""
    return place[0]

print(*ThreadPoolExecutor(16).map(knock, {}), "asked")
"""
BACK_WITHIN_S, DONE_WITHIN_S = 120, 120


@pytest.fixture(scope="module")
def stack(docker: Docker, images: dict[str, str], models: Image) -> Iterator[OwnStack]:
    with started(OwnStack(docker, "ai102-dapr", "172.30.114", 18280), SERVICES, "--jobs", "dapr") as own:
        yield own


@pytest.fixture(scope="module")
def caller(stack: OwnStack) -> Iterator[httpx.Client]:
    with stack.asker() as client:
        yield client


def metrics_of(stack: OwnStack) -> str:
    return f"http://{stack.subnet}.21:8092/metrics"


def test_a_job_is_brought_by_the_queue_and_fetched_through_the_gateway(stack: OwnStack, caller: httpx.Client) -> None:
    wait_until(lambda: is_brought(caller, metrics_of(stack)), "the queue brings a job", BACK_WITHIN_S)
    states = stack.docker.run("exec", stack.container("worker"), "python3", "-m", "ai102", "jobs", "status")
    assert "succeeded" in states


@pytest.mark.parametrize("service", [*PARTS, "api", "worker"])
def test_a_service_is_healthy_locked_down_and_limited(stack: OwnStack, service: str) -> None:
    wait_until(lambda: stack.health(service) == "healthy", f"{service} is healthy", BACK_WITHIN_S)
    facts = stack.facts(service)
    check_locked_down(facts)
    assert facts["Config"]["User"] not in ("", "0", "0:0")


def test_nothing_is_published_but_the_gateway(stack: OwnStack) -> None:
    assert stack.published(SERVICES) == {"gateway"}


def test_no_password_is_in_what_docker_tells_nor_in_logs_nor_in_a_command_line(docker: Docker, stack: OwnStack) -> None:
    words = [(ROOT / FOLDER / name).read_text(encoding="ascii").strip() for name in PASSWORDS]
    texts = {}
    for service in SERVICES:
        container = stack.container(service)
        texts[f"inspect {service}"] = docker.run("inspect", container)
        texts[f"image of {service}"] = docker.run("inspect", stack.facts(service)["Image"])
        texts[f"processes of {service}"] = docker.run("top", container, "-eo", "pid,args")
        texts[f"log of {service}"] = stack.logs(service)
    texts |= {name: (ROOT / name).read_text(encoding="utf-8") for name in (".env", "docker/compose.dapr.yaml")}
    assert all(len(word) > 30 for word in words)
    assert [name for name, text in texts.items() for word in words if word in text] == []


def test_redis_answers_nobody_without_its_password(docker: Docker, stack: OwnStack) -> None:
    assert docker.run("exec", stack.container("redis"), "redis-cli", "ping").startswith("NOAUTH")


def test_a_part_is_reached_by_those_who_need_it_alone(docker: Docker, stack: OwnStack) -> None:
    """By any of its addresses: a name is not known in other networks."""
    places = [
        (place, row["IPAddress"], int(place.partition(":")[2]))
        for place in REACHED
        for row in stack.facts(place.partition(":")[0])["NetworkSettings"]["Networks"].values()
    ]
    reached = {one: docker.run("exec", stack.container(one), "python3", "-c", KNOCK.format(places)) for one in OURS}
    assert {place: {one for one in OURS if place in reached[one].split()} for place in REACHED} == REACHED
    assert all(text.endswith("asked") for text in reached.values())


def test_no_job_is_lost_while_each_part_is_killed(stack: OwnStack, caller: httpx.Client) -> None:
    """`docker kill` would switch the restart policy off: the processes are killed from outside, as by the kernel."""
    with handing_in(caller) as report, stack.asker() as other:
        for service in KILLED:
            accepted, refused = len(report.accepted), report.refused.total()
            before = stack.facts(service)["State"]
            began = time.monotonic()
            os.kill(int(before["Pid"]), signal.SIGKILL)
            wait_until(lambda: is_back(stack, service, before), f"{service} is back", BACK_WITHIN_S)  # noqa: B023
            back_s = time.monotonic() - began
            wait_until(lambda: is_brought(other, metrics_of(stack)), "the queue brings jobs again", BACK_WITHIN_S)
            brought_s, sent_again = time.monotonic() - began, report.refused.total() - refused
            count = len(report.accepted) - accepted
            note(f"| {service} | {back_s:.1f} s | {brought_s:.1f} s | {count} | {sent_again} |")
            assert not (service in UNNOTICED and sent_again), report.refused
    check(caller, report, DONE_WITHIN_S)
    assert counted(stack) == {"succeeded"}


def test_no_job_is_lost_when_redis_forgets_everything(docker: Docker, stack: OwnStack, caller: httpx.Client) -> None:
    forget = 'REDISCLI_AUTH="$(cat /run/secrets/broker_password)" redis-cli flushall'
    with handing_in(caller) as report, stack.asker() as other:
        for _ in range(3):
            accepted = len(report.accepted)
            wait_until(lambda: len(report.accepted) >= accepted + 20, "jobs are accepted", 60)  # noqa: B023
            assert docker.run("exec", stack.container("redis"), "sh", "-c", forget) == "OK"
        wait_until(lambda: is_brought(other, metrics_of(stack)), "the queue brings jobs again", BACK_WITHIN_S)
    assert not report.refused
    check(caller, report, DONE_WITHIN_S)
    assert counted(stack) == {"succeeded"}


def is_back(stack: OwnStack, service: str, before: dict[str, object]) -> bool:
    return stack.facts(service)["State"]["StartedAt"] != before["StartedAt"] and stack.health(service) == "healthy"


def counted(stack: OwnStack) -> set[str]:
    """The states that jobs are in."""
    query = "select distinct state from jobs"
    command = ("exec", stack.container("postgres"), "psql", "--username=ai102", "-tAc", query, "ai102")
    return set(stack.docker.run(*command).split())
