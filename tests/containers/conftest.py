"""What the tests of containers share: a Docker engine, the images, and programs that they ask from inside."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ai102.errors import UserError
from ai102.images.base import base_for
from ai102.images.docker import Docker, found_docker
from ai102.images.dockerfiles import RECIPES, build
from ai102.images.layout import Image
from ai102.images.load import load_image
from ai102.images.models import write_models_image

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = ROOT / "model_repository"
LOGS = ROOT / "build" / "containers"
ENGINE_TIMEOUT_S = 30.0
NETWORK = "host"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder bears the marker."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("containers")


def wait_until(holds: Callable[[], bool], what: str, within_s: float) -> None:
    """Wait for a condition; AssertionError says what never came true."""
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """Docker with an engine that answers; one that is installed and not running is started, and stopped at the end."""
    if os.geteuid() != 0:
        pytest.skip("containers are tested by root alone: the tests kill processes of containers")
    if shutil.which("docker") is None:
        pytest.skip("docker is missing: apt-get install docker.io")
    engine = None
    if not _answers() and shutil.which("dockerd"):
        engine = _started_engine()
    try:
        try:
            yield found_docker()
        except UserError as err:
            pytest.skip(str(err))
    finally:
        if engine is not None:
            engine.send_signal(signal.SIGTERM)
            engine.wait(ENGINE_TIMEOUT_S)


@pytest.fixture(scope="session")
def base(docker: Docker) -> str:
    """What the images are built from: "" for the pinned base, else its substitute."""
    return base_for(docker, ROOT, note)


@pytest.fixture(scope="session")
def images(docker: Docker, base: str) -> dict[str, str]:
    """Every image that Docker builds, by the name of its recipe."""
    return {name: build(docker, ROOT, recipe, base, NETWORK) for name, recipe in RECIPES.items()}


@pytest.fixture(scope="session")
def models(docker: Docker) -> Image:
    """The models image of the repository, which Docker has too."""
    if not (REPOSITORY / "digits_int8" / "1" / "model.onnx").exists():
        pytest.skip("the reference models are not built: run `make engine`")
    image, _ = write_models_image(REPOSITORY, ROOT / "build" / "images" / "models")
    load_image(docker, image)
    return image


def note(line: str) -> None:
    """A figure for people: in the output of the test, and kept in build/containers/measured.txt."""
    sys.stdout.write(f"{line}\n")
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "measured.txt").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def inspected(docker: Docker, name: str) -> dict[str, Any]:
    """What `docker inspect` says of one container or image."""
    (facts,) = json.loads(docker.run("inspect", name))
    return dict(facts)


def _answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _started_engine() -> subprocess.Popen[bytes]:
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "dockerd.log").open("wb") as log:
        engine = subprocess.Popen(["dockerd"], stdout=log, stderr=log, start_new_session=True)
    ends = time.monotonic() + ENGINE_TIMEOUT_S
    while not _answers():
        if engine.poll() is not None or time.monotonic() > ends:
            engine.kill()
            pytest.skip(f"dockerd does not start here: {LOGS / 'dockerd.log'} says why")
        time.sleep(0.1)
    return engine
