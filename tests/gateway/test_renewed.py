"""A certificate with another content is taken by the running gateway, and no call is lost."""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai102.gateway import certs
from ai102.gateway.renewed import LOOK_EVERY_S, Renewed
from ai102.gateway.running import Runner
from ai102.host.listen import host_and_port
from tests.gateway.conftest import Home, MakeHome, needs, wait_until
from tests.gateway.load import steady

pytestmark = [pytest.mark.slow, pytest.mark.e2e, needs("haproxy")]


@pytest.fixture
def home(make_home: MakeHome, tmp_path: Path) -> Iterator[Home]:
    """A gateway that is open; its callers trust the next authority too, whose certificate lies in tmp_path/new."""
    home = make_home()
    certs.make(tmp_path / "new")
    both = home.ca.read_text(encoding="ascii") + (tmp_path / "new" / "ca.pem").read_text(encoding="ascii")
    home.ca.write_text(both, encoding="ascii")
    with Runner(home.gateway, home.folder, log=home.folder / "log"):
        yield home


def certificates(home: Home) -> set[str]:
    """What the gateway shows at its two addresses."""
    addresses = (home.gateway.listen.rest, home.gateway.listen.grpc)
    return {ssl.get_server_certificate(host_and_port(address), timeout=10).strip() for address in addresses}


def server_file(home: Home) -> Path:
    return home.folder / "build" / "gateway" / "certs" / "server.pem"


def test_a_new_certificate_is_taken_under_load(home: Home, caller: str, tmp_path: Path) -> None:
    said: list[str] = []
    renewed = Renewed(home.folder, "haproxy", said.append)
    renewed.follow(home.gateway)
    text = (tmp_path / "new" / "server.pem").read_text(encoding="ascii")
    wanted = text[: text.index("-----BEGIN PRIVATE KEY-----")].strip()

    def is_taken() -> bool:
        renewed.check(home.gateway)
        return certificates(home) == {wanted}

    with steady(home, caller, "grpc", 2, rest_s=0.01) as grpc, steady(home, caller, "rest", 2, rest_s=0.01) as rest:
        for load in (grpc, rest):
            load.wait_for(20)
        shutil.copyfile(tmp_path / "new" / "server.pem", server_file(home))
        wait_until(is_taken, "the gateway shows the new certificate", 10 * LOOK_EVERY_S + 20)
        for load in (grpc, rest):
            load.wait_for(20)
    assert (grpc.failures, rest.failures) == ([], [])
    assert said == [f"{server_file(home)} changed and is taken"]


def test_what_is_no_certificate_is_said_once_and_the_old_one_goes_on(home: Home) -> None:
    said: list[str] = []
    renewed = Renewed(home.folder, "haproxy", said.append)
    renewed.follow(home.gateway)
    before = certificates(home)
    server_file(home).write_text("no certificate", encoding="utf-8")

    def is_said() -> bool:
        renewed.check(home.gateway)
        return bool(said)

    wait_until(is_said, "it is said", 10 * LOOK_EVERY_S)
    assert [line.partition(":")[0] for line in said] == [f"{server_file(home)} changed and is not taken"]
    assert certificates(home) == before
