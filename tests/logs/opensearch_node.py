"""A real OpenSearch node for tests: from PATH, or from the cache of `ai102 parts`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ai102.host.child import Child
from tests.gateway.conftest import wait_until
from tests.parts_of import JAVA_OPTIONS, program_or_skip
from tests.ports import free_port

START_TIMEOUT_S = 120.0


def opensearch_program() -> Path:
    """The test skips where there is none."""
    on_path = shutil.which("opensearch")
    return Path(on_path) if on_path else program_or_skip("opensearch")


class Node:
    """One node over `folder`, at `url`; it may be stopped and started again with all that it has."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._child: Child | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "path.home": str(self._folder),
            "http.port": str(self._port),
            "network.host": "127.0.0.1",
            "discovery.type": "single-node",
            "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk of the tests' machine
        }
        program = opensearch_program()
        with (self._folder / "node.log").open("ab") as log:
            self._child = Child(
                [str(program), *(f"-E{key}={value}" for key, value in settings.items())],
                stdout=log,
                stderr=subprocess.STDOUT,
                grace_s=5,
                environment=os.environ | {"OPENSEARCH_JAVA_OPTS": f"-Xms512m -Xmx512m {JAVA_OPTIONS}"},
            )
        wait_until(self.is_ready, "OpenSearch is ready", START_TIMEOUT_S)

    def stop(self, *, at_once: bool = False) -> None:
        if self._child is None:
            return
        if not at_once:
            self._child.ask_to_end(signal.SIGTERM, 20)
        self._child.kill()
        self._child.reap()
        self._child = None

    def is_ready(self) -> bool:
        assert self._child is not None
        assert self._child.status is None, (self._folder / "node.log").read_text(encoding="utf-8")[-2000:]
        try:
            health = httpx.get(f"{self.url}/_cluster/health", timeout=5).json()
        except (httpx.TransportError, ValueError):
            return False
        return health.get("status") in ("green", "yellow")

    def count(self) -> int:
        """Documents in all our indices, those of this moment too."""
        httpx.post(f"{self.url}/ai102-logs-*/_refresh", timeout=60)
        return int(httpx.get(f"{self.url}/ai102-logs-*/_count", timeout=60).json().get("count", 0))


@contextmanager
def running_node(folder: Path) -> Iterator[Node]:
    node = Node(folder)
    try:
        node.start()
        yield node
    finally:
        node.stop(at_once=True)
