"""A stack of compose.yaml under a name, addresses and ports of its own, beside one that may run already."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ai102.compose.first_question import token_for_compose
from ai102.compose.program import compose_command
from ai102.compose.secrets import FOLDER
from ai102.compose.settings import FILE
from ai102.compose.stack import Stack
from ai102.errors import UserError
from ai102.images.docker import Docker
from tests.containers.conftest import LOGS, ROOT, inspected, note

VOLUMES = ("gateway", "issuer", "jobs", "compiled", "redis", "postgres")


@dataclass(frozen=True)
class OwnStack:
    """`subnet`: the first three numbers of its addresses; `port`: of REST, and gRPC listens on the next one."""

    docker: Docker
    project: str
    subnet: str
    port: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "COMPOSE_PROJECT_NAME": self.project,
            "AI102_SUBNET": self.subnet,
            "AI102_REST_PORT": str(self.port),
            "AI102_GRPC_PORT": str(self.port + 1),
        }

    @property
    def stack(self) -> Stack:
        return Stack(self.docker, ROOT, note)

    def container(self, service: str) -> str:
        return f"{self.project}-{service}-1"

    def facts(self, service: str) -> dict[str, Any]:
        return inspected(self.docker, self.container(service))

    def health(self, service: str) -> str:
        return str(self.facts(service)["State"]["Health"]["Status"])

    def address(self, service: str, network: str) -> str:
        """Docker's host reaches every container by its address."""
        return str(self.facts(service)["NetworkSettings"]["Networks"][f"{self.project}_{network}"]["IPAddress"])

    def published(self, services: Sequence[str]) -> set[str]:
        """Those of which a port is reached from outside of Docker."""
        ports = {service: self.facts(service)["NetworkSettings"]["Ports"] for service in services}
        return {service for service, places in ports.items() if any(places.values())}

    def logs(self, service: str) -> str:
        command = [self.docker.program, "logs", self.container(service)]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
        ).stdout

    @contextmanager
    def asker(self) -> Iterator[httpx.Client]:
        """A client of the gateway's REST with a token."""
        context = ssl.create_default_context(cafile=ROOT / FOLDER / "certs" / "ca.pem")
        headers = {"authorization": f"Bearer {token_for_compose(self.stack)}"}
        url = f"https://localhost:{self.port}"
        with httpx.Client(verify=context, base_url=url, headers=headers, timeout=10) as client:
            yield client


@contextmanager
def started(own: OwnStack, services: Sequence[str], *options: str) -> Iterator[OwnStack]:
    """The stack, started with these options of `ai102 compose up`; .env is as before in the end.

    Skips where Compose is missing or the cache lacks a part.
    """
    env = ROOT / FILE
    before = env.read_bytes() if env.exists() else None
    with pytest.MonkeyPatch.context() as environment:
        for name, value in own.environment.items():
            environment.setenv(name, value)
        environment.delenv("AI102_EYES_BIND", raising=False)
        compose = _compose_or_skip(own.docker)
        try:
            note(_up(*options))
            yield own
        finally:
            _keep_logs(own, services)
            subprocess.run([*compose, "down", "--volumes", "--remove-orphans"], cwd=ROOT, check=False)
            for kind in VOLUMES:
                own.docker.succeeds("volume", "rm", f"{own.project}-{kind}")
            env.unlink(missing_ok=True)
            if before is not None:
                env.write_bytes(before)


def _up(*options: str) -> str:
    command = [sys.executable, "-m", "ai102", "compose", "up", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "not in the cache" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return done.stdout


def _compose_or_skip(docker: Docker) -> list[str]:
    try:
        return compose_command(docker, os.environ)
    except UserError as err:
        pytest.skip(str(err))


def _keep_logs(own: OwnStack, services: Sequence[str]) -> None:
    folder = LOGS / own.project
    folder.mkdir(parents=True, exist_ok=True)
    for service in services:
        (folder / f"{service}.log").write_text(own.logs(service), encoding="utf-8")
