"""Pushing to a private registry with TLS and a login: Debian's docker-registry. A wrong password is one clear line."""

import base64
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai102.errors import UserError
from ai102.gateway import certs
from ai102.images.docker import Docker
from ai102.images.layout import Image
from ai102.images.registry import DOCKER_CERTIFICATES, opened_registry
from tests.containers.conftest import LOGS, ROOT, note, wait_until
from tests.parts_of import program_or_skip
from tests.ports import free_port

USER, PASSWORD = "ann", "right-password"
CONFIG = """
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}/storage}}
http:
  addr: {address}
  secret: of-the-tests
  tls: {{certificate: {folder}/certs/server.pem, key: {folder}/certs/server.pem}}
auth:
  htpasswd: {{realm: test, path: {folder}/htpasswd}}
"""


@dataclass(frozen=True)
class PrivateRegistry:
    """A registry that runs; `ca` is its certificate authority."""

    address: str
    ca: Path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRegistry]:
    program = program_or_skip("docker-registry")
    if shutil.which("htpasswd") is None:
        pytest.skip("htpasswd is missing: apt-get install apache2-utils")
    folder = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    certs.make(folder / "certs")
    words = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, text=True, check=True).stdout
    (folder / "htpasswd").write_text(words)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, address=address))
    trusted = DOCKER_CERTIFICATES / address
    trusted.mkdir(parents=True)
    shutil.copy2(folder / "certs" / "ca.pem", trusted / "ca.crt")
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "registry.log").open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        host, _, port = address.partition(":")
        wait_until(lambda: _listens(host, int(port)), "the registry listens", 20)
        yield PrivateRegistry(address, folder / "certs" / "ca.pem")
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(trusted)


@pytest.fixture
def login(docker: Docker, registry: PrivateRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of Docker's own for the test, without a login."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def log_in(folder: Path, registry: PrivateRegistry, password: str) -> None:
    """As `docker login` keeps it; `docker login` itself refuses a wrong password."""
    word = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": word}}}))


def pushed(registry: PrivateRegistry, *names: str) -> subprocess.CompletedProcess[str]:
    """`ai102 image push`, as a person runs it."""
    command = [str(Path(sys.executable).parent / "ai102"), "image", "push", registry.address, *names]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_image_is_pushed_and_can_be_pulled_again(
    docker: Docker, images: dict[str, str], models: Image, registry: PrivateRegistry, login: Path
) -> None:
    log_in(login, registry, PASSWORD)
    done = pushed(registry)
    note(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    for reference in images.values():
        target = f"{registry.address}/{reference}"
        docker.run("rmi", target)
        docker.run("pull", "--quiet", target)
        assert docker.image_id(target) == docker.image_id(reference)
        docker.run("rmi", target)


def test_the_models_image_keeps_its_digest_in_the_registry(
    docker: Docker, models: Image, registry: PrivateRegistry, login: Path
) -> None:
    log_in(login, registry, PASSWORD)
    assert pushed(registry, "models").stdout.strip().endswith(models.digest)
    target = f"{registry.address}/ai102/models@{models.digest}"
    docker.run("pull", "--quiet", target)
    assert docker.image_id(target) == models.config_digest
    docker.run("rmi", target)


def test_a_saved_image_is_pushed_without_docker_and_can_be_pulled(
    docker: Docker, images: dict[str, str], registry: PrivateRegistry, login: Path
) -> None:
    log_in(login, registry, PASSWORD)
    done = pushed(registry, "api", "--saved")
    assert (done.returncode, done.stderr) == (0, "")
    target = done.stdout.strip().removeprefix("pushed ")
    docker.run("pull", "--quiet", target)
    assert docker.image_id(target) == docker.image_id(images["api"])
    docker.run("rmi", target)


def test_a_wrong_password_is_one_line_that_says_what_to_do(
    images: dict[str, str], models: Image, registry: PrivateRegistry, login: Path
) -> None:
    log_in(login, registry, "wrong-password")
    done = pushed(registry)
    note(done.stderr)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"ai102: {registry.address}: does not take the login that Docker has for it (wrong user or password): "
        f"docker login {registry.address}\n"
    )


def test_no_login_at_all_is_one_line(models: Image, registry: PrivateRegistry, login: Path) -> None:
    assert pushed(registry, "models").stderr == (
        f"ai102: {registry.address}: wants a login, and Docker has none for it: docker login {registry.address}\n"
    )


def test_a_certificate_of_nobody_known_is_one_line(registry: PrivateRegistry, login: Path, tmp_path: Path) -> None:
    certs.make(tmp_path / "others")
    with pytest.raises(UserError, match="its certificate is not trusted"):
        opened_registry(registry.address, tmp_path / "others" / "ca.pem")


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:9", "no registry answers"), ("https://registry.example", "is no registry: write HOST")],
)
def test_an_address_without_a_registry_is_one_line(address: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened_registry(address)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
