"""What the tests of containers share: a Docker engine, the images, and programs that they ask from inside."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ai102.images.base import base_for
from ai102.images.docker import Docker
from ai102.images.dockerfiles import RECIPES, build
from ai102.images.layout import Image
from ai102.images.load import load_image
from ai102.images.models import write_models_image
from tests.docker_engine import running_docker

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = ROOT / "model_repository"
LOGS = ROOT / "build" / "containers"
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
    with running_docker(LOGS) as docker:
        yield docker


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


def check_locked_down(facts: dict[str, Any]) -> None:
    """What Docker tells of a container: a read-only root, no right that it could gain, limits, and another start."""
    host = facts["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], None)
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == "always"
    assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0


def inspected(docker: Docker, name: str) -> dict[str, Any]:
    """What `docker inspect` says of one container or image."""
    (facts,) = json.loads(docker.run("inspect", name))
    return dict(facts)
