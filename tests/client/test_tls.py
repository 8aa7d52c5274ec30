"""The client inside TLS, over both protocols, by threads and by asyncio: answered where it may be, told why else."""

import contextlib
import datetime
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102.client import DeadlineError, InferenceError, SharedMemoryError, Tls, TlsError, WrongProtocolError
from ai102.client.http.connections import Connections
from ai102.client.tls import ALPN, secure_from_tls
from ai102.gateway import certs
from tests.client.conftest import wait_until
from tests.client.terminators import Terminator
from tests.client.test_bad_input import SLACK_S, TIMEOUT_S, listener
from tests.client.ways import ECHO_FILES, SLOW_FILES, Way, asks_slow
from tests.e2e.conftest import StartServer
from tests.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("nothing_leaks")]
X = {"x": np.ones((1, 2), np.float32)}


@dataclass(frozen=True)
class Folders:
    """Certificates of an authority: ca.pem, server.pem and client.pem, the last two with their keys."""

    ours: Path  # its server is also gateway.example
    others: Path
    expired: Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("certificates")
    certs.make(root / "ours", ["gateway.example"])
    certs.make(root / "others")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certs, "BACKDATED", datetime.timedelta(days=9))
        patch.setattr(certs, "LEAF_DAYS", -1)
        certs.make(root / "expired")
    return Folders(root / "ours", root / "others", root / "expired")


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server({"echo": ECHO_FILES, "slow": SLOW_FILES})


def tls(folder: Path, **options: Any) -> Tls:
    return Tls(ca_file=folder / "ca.pem", **options)


def terminator(way: Way, server: Server, certificate: Path, **options: Any) -> Terminator:
    return Terminator(way.address(server), certificate, alpn=ALPN[way.protocol], **options)


def failure(client: Any) -> InferenceError:
    """What the call raised, which must come in time, in one line."""
    with client:
        begin = time.monotonic()
        with pytest.raises(InferenceError) as caught:
            client.infer("echo", X)
        assert time.monotonic() - begin < TIMEOUT_S + SLACK_S
    assert "\n" not in str(caught.value)
    return caught.value


ANSWERED: dict[str, Callable[[Folders], Tls]] = {
    "the authority is given": lambda folders: tls(folders.ours),
    "the name is given": lambda folders: tls(folders.ours, server_name="gateway.example"),
    "a certificate that nobody asked for": lambda folders: tls(
        folders.ours, certificate_file=folders.ours / "client.pem"
    ),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_a_server_that_is_trusted_answers(way: Way, server: Server, folders: Folders, case: str) -> None:
    with (
        terminator(way, server, folders.ours / "server.pem") as proxy,
        way.connect_securely(proxy.address, tls=ANSWERED[case](folders)) as client,
    ):
        for _ in range(3):
            assert client.infer("echo", X)["doubled"].tolist() == [[2.0, 2.0]]
        assert proxy.accepted == 1


def test_large_tensors_pass(way: Way, server: Server, folders: Folders) -> None:
    with (
        terminator(way, server, folders.ours / "server.pem") as proxy,
        way.connect_securely(proxy.address, tls=tls(folders.ours)) as client,
    ):
        answer = client.infer("slow", asks_slow(length=1 << 20))["y"]
        assert answer.tolist() == [asks_slow()["x"].size - 2] * (1 << 20)


def test_the_systems_authorities_are_trusted_by_default(
    way: Way, server: Server, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folders.ours / "ca.pem"))
    with (
        terminator(way, server, folders.ours / "server.pem") as proxy,
        way.connect_securely(proxy.address) as client,
    ):
        assert client.infer("echo", X)["doubled"].tolist() == [[2.0, 2.0]]


def test_a_connection_that_the_server_ended_is_opened_anew(way: Way, server: Server, folders: Folders) -> None:
    with (
        terminator(way, server, folders.ours / "server.pem") as proxy,
        way.connect_securely(proxy.address, tls=tls(folders.ours)) as client,
    ):
        for turn in range(3):
            assert client.infer("echo", X)["doubled"].tolist() == [[2.0, 2.0]]
            assert proxy.accepted == turn + 1
            proxy.hang_up()


def test_mutual_tls_with_a_certificate_of_the_servers_authority(way: Way, server: Server, folders: Folders) -> None:
    ours = folders.ours
    with (
        terminator(way, server, ours / "server.pem", client_ca=ours / "ca.pem") as proxy,
        way.connect_securely(proxy.address, tls=tls(ours, certificate_file=ours / "client.pem")) as client,
    ):
        assert client.infer("echo", X)["doubled"].tolist() == [[2.0, 2.0]]


UNTRUSTED: dict[str, tuple[Callable[[Folders], Path], Callable[[Folders], Tls | None], str]] = {
    "the authority of another": (lambda folders: folders.ours, lambda folders: tls(folders.others), "ca_file="),
    "an authority that the system does not know": (lambda folders: folders.ours, lambda folders: None, "ca_file="),
    "expired": (lambda folders: folders.expired, lambda folders: tls(folders.expired), "has expired"),
    "another name": (
        lambda folders: folders.ours,
        lambda folders: tls(folders.ours, server_name="gate.example"),
        "for another name",
    ),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_a_server_that_is_not_trusted(way: Way, server: Server, folders: Folders, case: str) -> None:
    has, trusts, words = UNTRUSTED[case]
    with terminator(way, server, has(folders) / "server.pem") as proxy:
        err = failure(way.connect_securely(proxy.address, tls=trusts(folders), timeout_s=TIMEOUT_S))
    assert type(err) is TlsError
    assert words in str(err)
    assert f"{way.protocol}s://{proxy.address}" in str(err)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("", "requires a certificate of its callers"),
        ("others", "does not accept our certificate"),
        ("expired", "does not accept our certificate"),
    ],
)
def test_a_server_that_does_not_trust_us(way: Way, server: Server, folders: Folders, shown: str, words: str) -> None:
    ours = folders.ours
    mine = getattr(folders, shown) / "client.pem" if shown else ""
    with terminator(way, server, ours / "server.pem", client_ca=ours / "ca.pem") as proxy:
        err = failure(way.connect_securely(proxy.address, tls=tls(ours, certificate_file=mine), timeout_s=TIMEOUT_S))
    assert type(err) is TlsError
    assert words in str(err)


def test_plaintext_to_a_port_for_tls(way: Way, server: Server, folders: Folders) -> None:
    with terminator(way, server, folders.ours / "server.pem") as proxy:
        err = failure(way.connect(proxy.address, timeout_s=TIMEOUT_S))
    assert type(err) is WrongProtocolError
    assert f"write {way.protocol}s://" in str(err)


@pytest.mark.parametrize("is_other", [False, True])
def test_tls_to_a_port_for_plaintext(way: Way, server: Server, folders: Folders, is_other: bool) -> None:
    address = server.grpc_url if (way.protocol == "grpc") is not is_other else server.http_url
    err = failure(way.connect_securely(address, tls=tls(folders.ours), timeout_s=TIMEOUT_S))
    assert type(err) is WrongProtocolError
    assert "does not speak TLS" in str(err)


def test_the_other_protocols_port_inside_tls(way: Way, server: Server, folders: Folders) -> None:
    other = Way("grpc" if way.protocol == "http" else "http", False)
    with terminator(other, server, folders.ours / "server.pem") as proxy:
        err = failure(way.connect_securely(proxy.address, tls=tls(folders.ours), timeout_s=TIMEOUT_S))
    assert type(err) is WrongProtocolError


@pytest.mark.parametrize(
    ("says", "kind"), [(None, DeadlineError), (b"SSH-2.0-OpenSSH_9.2\r\n" * 9, WrongProtocolError)]
)
def test_what_does_not_shake_hands(way: Way, folders: Folders, says: bytes | None, kind: type[InferenceError]) -> None:
    with listener(says) as address:
        assert type(failure(way.connect_securely(address, tls=tls(folders.ours), timeout_s=TIMEOUT_S))) is kind


def test_shared_memory_that_is_insisted_on(way: Way, folders: Folders) -> None:
    with pytest.raises(SharedMemoryError, match="goes past TLS"):
        way.connect_securely("127.0.0.1:8001", tls=tls(folders.ours), shared_memory=True)


@pytest.fixture(scope="module")
def mutual(start_server: StartServer, folders: Folders) -> Server:
    """A Triton that speaks TLS itself, over gRPC, and wants certificates of its callers."""
    ours = folders.ours
    extra = (
        "--grpc-use-ssl=true",
        "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={ours / 'server.pem'}",
        f"--grpc-server-key={ours / 'server.pem'}",
        f"--grpc-root-cert={ours / 'ca.pem'}",
    )
    return start_server({"echo": ECHO_FILES}, extra_arguments=extra)


@pytest.mark.parametrize("way", [Way("grpc", False), Way("grpc", True)], ids=str)
def test_triton_itself_speaks_tls_over_grpc(mutual: Server, folders: Folders, way: Way) -> None:
    ours = folders.ours
    with way.connect_securely(mutual.grpc_url, tls=tls(ours, certificate_file=ours / "client.pem")) as client:
        assert client.infer("echo", X)["doubled"].tolist() == [[2.0, 2.0]]
    for mine in ("", folders.others / "client.pem"):
        shown = tls(ours, certificate_file=mine)
        assert type(failure(way.connect_securely(mutual.grpc_url, tls=shown, timeout_s=TIMEOUT_S))) is TlsError
    assert type(failure(way.connect(mutual.grpc_url, timeout_s=TIMEOUT_S))) is WrongProtocolError


@contextlib.contextmanager
def silent_after_the_handshake(certificate: Path, says: bytes = b"") -> Iterator[tuple[str, threading.Event]]:
    """A server that shakes hands, says that, and then a byte now and then until the event is set."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.sendall(says)
                while not stop.wait(0.05):
                    if says:
                        wrapped.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", stop
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize("way", [Way("http", False), Way("http", True)], ids=str)
def test_an_answer_that_drips_does_not_outlast_the_deadline(way: Way, folders: Folders) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    with silent_after_the_handshake(folders.ours / "server.pem", head) as (address, _):
        client = way.connect_securely(address, tls=tls(folders.ours), timeout_s=TIMEOUT_S)
        assert type(failure(client)) is DeadlineError


@pytest.mark.parametrize("way", [Way("http", False)], ids=str)
def test_a_connection_is_stale_once_the_server_ended_it_but_not_for_a_session_ticket(
    way: Way, folders: Folders
) -> None:
    connections = Connections(secure_from_tls(tls(folders.ours), "http"))
    with (
        silent_after_the_handshake(folders.ours / "server.pem") as (address, stop),
        connections.borrow(address, time.monotonic() + 9.0, 3.0) as connection,
    ):
        readable = select.poll()
        readable.register(connection, select.POLLIN)
        wait_until(lambda: bool(readable.poll(0)), lambda: "no ticket came")
        assert not connection.is_stale
        stop.set()
        wait_until(lambda: connection.is_stale)
    connections.close()
