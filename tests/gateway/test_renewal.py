"""A certificate that is renewed on disk is served by the running proxy; one that cannot be served changes nothing."""

import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from ai102.gateway import certs
from ai102.gateway.renewal import Renewal
from ai102.gateway.running import ProxyName, Runner
from ai102.host.listen import host_and_port
from tests.gateway.conftest import needs, policy, wait_until

pytestmark = pytest.mark.slow
REPLICAS = [("127.0.0.1:18000", "127.0.0.1:18001")]


@pytest.fixture(params=[pytest.param("haproxy", marks=needs("haproxy")), pytest.param("nginx", marks=needs("nginx"))])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    proxy: ProxyName = request.param
    certs.make(folder_of(tmp_path))
    with Runner(policy(REPLICAS), tmp_path, proxy, log=tmp_path / "log") as running:
        yield running


def folder_of(home: Path) -> Path:
    return home / "build" / "gateway" / "certs"


def served_to(runner: Runner) -> int:
    """The serial number of the certificate that a new connection is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = host_and_port(runner.gateway.listen.rest)
    with socket.create_connection(address, timeout=5) as plain, context.wrap_socket(plain) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).serial_number


def on_disk(runner: Runner) -> int:
    return x509.load_pem_x509_certificate((folder_of(runner.home) / "server.pem").read_bytes()).serial_number


def test_a_renewed_certificate_is_served_without_a_restart(runner: Runner) -> None:
    lines: list[str] = []
    renewal, before, pid = Renewal(runner, lines.append), served_to(runner), runner.pid
    renewal.look()
    assert (lines, before) == ([], on_disk(runner))
    certs.make(folder_of(runner.home), force=True)
    renewal.look()
    wait_until(lambda: served_to(runner) == on_disk(runner), "the new certificate is served")
    assert (len(lines), runner.pid, on_disk(runner) != before) == (1, pid, True)
    renewal.look()
    assert len(lines) == 1


def test_a_secrets_volume_that_leads_elsewhere_is_a_renewal(runner: Runner) -> None:
    """As the kubelet does it: the files stay links, and the folder that they lead through is another one."""
    folder = folder_of(runner.home)
    for name in ("first", "second"):
        (folder / name).mkdir()
        certs.make(folder / "of" / name)
        shutil.copy2(folder / "of" / name / "server.pem", folder / name / "server.pem")
    (folder / "..data").symlink_to("first")
    (folder / "server.pem").unlink()
    (folder / "server.pem").symlink_to("..data/server.pem")
    renewal = Renewal(runner, lambda _: None)
    (folder / "..next").symlink_to("second")
    (folder / "..next").replace(folder / "..data")
    renewal.look()
    wait_until(lambda: served_to(runner) == on_disk(runner), "the new certificate is served")


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_what_is_no_certificate_is_said_once_and_the_one_before_goes_on(runner: Runner, content: str) -> None:
    lines: list[str] = []
    renewal, before = Renewal(runner, lines.append), served_to(runner)
    (folder_of(runner.home) / "server.pem").write_text(content)
    renewal.look()
    renewal.look()
    assert len(lines) == 1
    assert "holds no certificate in PEM" in lines[0]
    assert lines[0].endswith("the certificate of before goes on until the file changes again")
    assert served_to(runner) == before
