"""The image of PostgreSQL of our own making: its first start, which may be killed, and who may connect."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai102.compose.parts import part_images
from ai102.images.docker import Docker
from tests.containers.conftest import ROOT, wait_until

VOLUME = "ai102-test-postgres"
PASSWORD = "of-the-test"
LOCKED = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true")
PLACES = ("--tmpfs", "/tmp:size=64m,mode=1777", "--tmpfs", "/var/run/postgresql:size=1m,uid=999,gid=999")
UP_TIMEOUT_S = 60
# A first start takes 1.5 s on a quiet machine. The later ones come after it where the machine is quick.
KILLED_AFTER_S = (0.3, 0.6, 0.9, 1.2, 1.6, 2.0)


@pytest.fixture(scope="module")
def image(docker: Docker, base: str) -> str:
    return part_images(docker, ROOT, base, ["postgres"])["postgres"]


@pytest.fixture
def options(docker: Docker, image: str, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Of `docker run`: an empty volume, the password's file, and the image."""
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n", encoding="ascii")
    password.chmod(0o444)
    settings = {"POSTGRES_USER": "ann", "POSTGRES_DB": "jobs", "POSTGRES_PASSWORD_FILE": "/run/secrets/password"}
    data = ("--volume", f"{VOLUME}:/var/lib/postgresql/data", "--volume", f"{password}:/run/secrets/password:ro")
    docker.succeeds("volume", "rm", VOLUME)
    docker.run("volume", "create", VOLUME)
    try:
        chown = ("--user", "0", "--entrypoint", "chown", *data, image, "999:999", "/var/lib/postgresql/data")
        docker.run("run", "--rm", "--network", "none", *chown)
        variables = (word for name, value in settings.items() for word in ("--env", f"{name}={value}"))
        yield (*LOCKED, *PLACES, *data, *variables, image)
    finally:
        docker.run("volume", "rm", VOLUME)


@contextmanager
def started(docker: Docker, options: tuple[str, ...]) -> Iterator[str]:
    container = docker.run("run", "--detach", *options)
    try:
        yield container
    finally:
        docker.run("rm", "--force", container)


def asked(container: str, host: str = "", password: str = "") -> tuple[str, ...]:
    """The arguments of `docker` that ask the database of our own for its name; by its socket without a host."""
    way = ("--host", host) if host else ()
    secret = ("--env", f"PGPASSWORD={password}") if password else ()
    query = "select current_database()"
    return ("exec", *secret, container, "psql", "--no-password", *way, "--username=ann", "-tAc", query, "jobs")


def test_a_first_start_that_is_killed_leaves_nothing_half_made(docker: Docker, options: tuple[str, ...]) -> None:
    for seconds in KILLED_AFTER_S:
        with started(docker, options) as container:
            time.sleep(seconds)  # the moment is what is tested
            docker.run("kill", container)
    with started(docker, options) as container:
        wait_until(lambda: docker.succeeds(*asked(container)), "PostgreSQL answers", UP_TIMEOUT_S)
        assert docker.run("exec", container, "ls", "/var/lib/postgresql/data") == "pgdata"


def test_only_who_has_the_password_connects_by_tcp(docker: Docker, options: tuple[str, ...]) -> None:
    with started(docker, options) as container:
        wait_until(lambda: docker.succeeds(*asked(container)), "PostgreSQL answers", UP_TIMEOUT_S)
        assert docker.run(*asked(container, "127.0.0.1", PASSWORD)) == "jobs"
        assert not docker.succeeds(*asked(container, "127.0.0.1", "another"))
        assert not docker.succeeds(*asked(container, "127.0.0.1"))


def test_what_was_committed_is_there_after_a_kill(docker: Docker, options: tuple[str, ...]) -> None:
    with started(docker, options) as container:
        wait_until(lambda: docker.succeeds(*asked(container)), "PostgreSQL answers", UP_TIMEOUT_S)
        docker.run("exec", container, "psql", "--username=ann", "-c", "create table kept as select 7 as one", "jobs")
        docker.run("kill", container)
    with started(docker, options) as container:
        query = ("exec", container, "psql", "--username=ann", "-tAc", "select one from kept", "jobs")
        wait_until(lambda: docker.succeeds(*query), "the table is there", UP_TIMEOUT_S)
        assert docker.run(*query) == "7"
