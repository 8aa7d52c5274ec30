"""The friendly API with jobs, as its user starts it, where no Triton and no worker is: jobs are accepted, and wait."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateway.conftest import wait_until

ROOT = Path(__file__).parent.parent.parent
READY = re.compile(r"ready: http://(\S+)")


@contextmanager
def jobs_api(folder: Path) -> Iterator[str]:
    """Gives HOST:PORT; its log is folder/api.log."""
    log = folder / "api.log"
    options = ["--listen", "127.0.0.1:0", "--url", "grpc://127.0.0.1:9", "--jobs", str(folder / "jobs")]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "ai102", "api", "serve", *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or READY.search(log.read_text()) is not None, "an API", 60)
        found = READY.search(log.read_text())
        assert found, log.read_text()
        yield found[1]
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
