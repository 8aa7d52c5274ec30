"""A real Redis and real Dapr sidecars, with the component that the project ships."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.parts_of import program_or_skip
from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent
RESOURCES = ROOT / "docker" / "dapr" / "resources"
CONFIG = ROOT / "docker" / "dapr" / "config.yaml"
PASSWORD = "of-the-test"
IN_TIME_S = 60.0


class Redis:
    """On 127.0.0.1, with its append-only file in `folder`."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self._fsync = "always" if fsync else "everysec"
        if shutil.which("redis-server") is None:
            pytest.skip("Redis is not installed: apt-get install redis-server")
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", self._fsync, "--save", "", "--requirepass", PASSWORD]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        ends = time.monotonic() + IN_TIME_S
        while self.asked("PING") != "PONG":
            assert time.monotonic() < ends, (self.folder / "redis.log").read_text()
            time.sleep(0.05)

    def asked(self, *command: str) -> str:
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), "-a", PASSWORD, "--no-auth-warning", *command],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        return done.stdout.strip()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)


@contextmanager
def redis(folder: Path, *, fsync: bool = False) -> Iterator[Redis]:
    server = Redis(folder, fsync=fsync)
    server.start()
    try:
        yield server
    finally:
        if server.process and server.process.poll() is None:
            server.kill()


def resources(folder: Path) -> Path:
    """The project's components, with a broker that brings again sooner what nobody took."""
    made = folder / "resources"
    made.mkdir(exist_ok=True)
    for file in RESOURCES.glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        (made / file.name).write_text(text.replace("value: 60s", "value: 6s").replace("value: 15s", "value: 2s"))
    return made


class Sidecar:
    """One daprd; `url` is its HTTP API, `app` where it brings jobs, if it is a worker's."""

    def __init__(self, folder: Path, redis_port: int, app: str = "") -> None:
        self.folder = folder
        self.app = app
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._program = program_or_skip("dapr", "daprd")
        self._redis = f"127.0.0.1:{redis_port}"
        self._others = [free_port() for _ in range(4)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        grpc, internal, metrics, public = map(str, self._others)
        command = [str(self._program), "--app-id", "jobs", "--dapr-http-port", str(self.port), "--dapr-grpc-port", grpc]
        command += ["--dapr-internal-grpc-port", internal, "--metrics-port", metrics, "--dapr-public-port", public]
        command += [
            "--dapr-listen-addresses",
            "127.0.0.1",
            "--resources-path",
            str(resources(self.folder)),
            "--config",
            str(CONFIG),
        ]
        command += ["--placement-host-address", "", "--scheduler-host-address", "", "--log-level", "warn"]
        if self.app:
            host, _, port = self.app.rpartition(":")
            command += ["--app-port", port, "--app-channel-address", host, "--app-protocol", "http"]
            # While the worker is away nothing is taken from the broker for it.
            command += ["--enable-app-health-check", "--app-health-check-path", "/healthz"]
            command += [
                "--app-health-probe-interval",
                "1",
                "--app-health-probe-timeout",
                "900",
                "--app-health-threshold",
                "1",
            ]
        secrets = self.folder / "secrets.json"
        secrets.write_text(json.dumps({"redis-password": PASSWORD}), encoding="utf-8")
        environment = {**os.environ, "REDIS_HOST": self._redis, "BROKER_SECRETS": str(secrets)}
        with (self.folder / f"daprd-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def wait_until_it_publishes(self) -> None:
        ends = time.monotonic() + IN_TIME_S
        while True:
            try:
                # Ready without the app: what an API needs.
                with urllib.request.urlopen(f"{self.url}/v1.0/healthz/outbound", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                log = self.folder / f"daprd-{self.port}.log"
                assert time.monotonic() < ends, log.read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)


@contextmanager
def sidecar(folder: Path, redis_port: int, app: str = "") -> Iterator[Sidecar]:
    started = Sidecar(folder, redis_port, app)
    started.start()
    try:
        started.wait_until_it_publishes()
        yield started
    finally:
        if started.process and started.process.poll() is None:
            started.process.terminate()
            try:
                started.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                started.kill()


@contextmanager
def behind_dapr(folder: Path, *, fsync: bool = False) -> Iterator[tuple[Redis, Sidecar, Sidecar]]:
    """Redis, the sidecar of an API and that of a worker."""
    with ExitStack() as opened:
        server = opened.enter_context(redis(folder, fsync=fsync))
        api = opened.enter_context(sidecar(folder, server.port))
        worker = opened.enter_context(sidecar(folder, server.port, f"127.0.0.1:{free_port()}"))
        yield server, api, worker
