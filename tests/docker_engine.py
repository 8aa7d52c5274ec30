"""Docker with an engine that answers, for tests; they skip with the reason where there is none."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.images.docker import Docker, found_docker

ENGINE_TIMEOUT_S = 30.0


@contextmanager
def running_docker(logs: Path) -> Iterator[Docker]:
    """An engine that is installed and not running is started, and stopped at the end."""
    if os.geteuid() != 0:
        pytest.skip("containers are tested by root alone: the tests kill processes of containers")
    if shutil.which("docker") is None:
        pytest.skip("docker is missing: apt-get install docker.io")
    engine = None
    if not _answers() and shutil.which("dockerd"):
        engine = _started(logs)
    try:
        try:
            yield found_docker()
        except UserError as err:
            pytest.skip(str(err))
    finally:
        if engine is not None:
            engine.send_signal(signal.SIGTERM)
            engine.wait(ENGINE_TIMEOUT_S)


def _answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _started(logs: Path) -> subprocess.Popen[bytes]:
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(["dockerd"], stdout=log, stderr=log, start_new_session=True)
    ends = time.monotonic() + ENGINE_TIMEOUT_S
    while not _answers():
        if engine.poll() is not None or time.monotonic() > ends:
            engine.kill()
            pytest.skip(f"dockerd does not start here: {logs / 'dockerd.log'} says why")
        time.sleep(0.1)
    return engine
