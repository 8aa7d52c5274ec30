"""The test CA and its certificates: what they name, who may read them, and that they are not made anew by accident."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ai102.errors import UserError
from ai102.gateway import certs


def test_the_server_is_named_by_all_its_names_and_keys_are_for_their_owner(tmp_path: Path) -> None:
    made = certs.make(tmp_path, ["ai102.example", "10.1.2.3"])
    names = {one.path.name: one.names for one in made}
    assert names["server.pem"] == ("localhost", "127.0.0.1", "::1", "ai102.example", "10.1.2.3")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == {"ca.pem": "0o644", "ca.key": "0o600", "server.pem": "0o600", "client.pem": "0o600"}


def test_what_is_there_stays_unless_forced(tmp_path: Path) -> None:
    certs.make(tmp_path)
    before = (tmp_path / "server.pem").read_bytes()
    assert [one.is_new for one in certs.make(tmp_path)] == [False, False, False]
    assert (tmp_path / "server.pem").read_bytes() == before
    assert all(one.is_new for one in certs.make(tmp_path, force=True))
    assert (tmp_path / "server.pem").read_bytes() != before


def test_half_a_set_is_told(tmp_path: Path) -> None:
    certs.make(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(UserError, match=r"has ca\.pem, server\.pem, client\.pem but not ca\.key; --force makes all"):
        certs.make(tmp_path)


def test_a_name_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--name 'bücher' is no host name"):
        certs.make(tmp_path, ["bücher"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "there is no .*; `ai102 gateway certs` makes a test CA"), (b"nonsense", "holds no certificate in PEM")],
)
def test_a_certificate_that_is_missing_or_none_is_told(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "server.pem").write_bytes(content)
    with pytest.raises(UserError, match=reason):
        certs.check(tmp_path / "server.pem", "gateway.toml: tls.certificate")


def test_a_certificate_past_its_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certs, "LEAF_DAYS", -1)
    monkeypatch.setattr(certs, "BACKDATED", timedelta(days=3))
    certs.make(tmp_path)
    with pytest.raises(UserError, match=r"server\.pem expired on .*renew it"):
        certs.check(tmp_path / "server.pem", "gateway.toml: tls.certificate")


def test_the_server_is_believed_and_the_client_too(tmp_path: Path) -> None:
    certs.make(tmp_path)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    server_side.load_cert_chain(tmp_path / "server.pem")
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client_side.load_cert_chain(tmp_path / "client.pem")
    near, far = socket.socketpair()

    def serve() -> None:
        with server_side.wrap_socket(far, server_side=True) as connection:
            connection.sendall(str(connection.getpeercert()).encode())

    thread = threading.Thread(target=serve)
    thread.start()
    with client_side.wrap_socket(near, server_hostname="localhost") as connection:
        assert b"'client'" in connection.recv(4096)
    thread.join()


def test_the_server_certificate_is_one_that_browsers_take(tmp_path: Path) -> None:
    certs.make(tmp_path)
    found = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    assert found.not_valid_after_utc - datetime.now(UTC) < timedelta(days=398)
