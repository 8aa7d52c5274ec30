"""An API and a worker that start before their database does: direct calls do not wait for it, and jobs follow."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.gateway.conftest import wait_until
from tests.jobs.databases import PostgreSQL, postgresql
from tests.ports import free_port

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parent.parent.parent
TRITON = "grpc://127.0.0.1:9"  # nobody
JOB = {"model": "embed_text", "text": "A man is eating."}


@contextmanager
def started(words: list[str], log: Path) -> Iterator["subprocess.Popen[str]"]:
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "ai102", *words], cwd=ROOT, text=True, stderr=file)
    try:
        wait_until(lambda: "ready: " in log.read_text(), "it is ready", 60)
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as started:
        yield started


def test_an_api_takes_jobs_as_soon_as_its_database_is_there(server: PostgreSQL, tmp_path: Path) -> None:
    server.stop()
    words = ["api", "serve", "--listen", "127.0.0.1:0", "--url", TRITON, "--jobs", str(tmp_path / "jobs")]
    try:
        with started([*words, "--ledger", server.url], log := tmp_path / "log") as api:
            (ready,) = [line for line in log.read_text().splitlines() if line.startswith("ready: ")]
            url = ready.split()[1]
            assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200
            assert httpx.post(f"{url}/v1/jobs", json=JOB, timeout=20).status_code == 503
            server.start()
            assert httpx.post(f"{url}/v1/jobs", json=JOB, timeout=20).status_code == 202
            api.send_signal(signal.SIGTERM)
            assert api.wait(timeout=30) == 0
    finally:
        server.restart()


def test_a_worker_waits_for_its_database(server: PostgreSQL, tmp_path: Path) -> None:
    server.stop()
    sidecar = ["--dapr", "http://127.0.0.1:9", "--app", f"127.0.0.1:{free_port()}", "--direct-calls", "none"]
    try:
        words = ["jobs", "work", "--url", TRITON, "--ledger", server.url, "--callback-key", str(tmp_path / "key")]
        with started([*words, *sidecar], log := tmp_path / "log") as worker:
            wait_until(lambda: "trying again" in log.read_text(), "it has asked its database", 60)
            assert worker.poll() is None
            server.start()
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0
    finally:
        server.restart()
