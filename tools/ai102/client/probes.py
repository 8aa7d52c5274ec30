"""Which protocol a server speaks that never answered: asked after a failure only, within the call's deadline."""

from __future__ import annotations

import socket
import ssl
import time
from typing import NamedTuple

from ai102.client.errors import InferenceError, no_tls, only_tls, wrong_protocol
from ai102.client.in_time import within
from ai102.client.tls import ALPN, Secure, error_from_ssl, refused_without_a_word
from ai102.host.listen import host_and_port

# The limit of one probe.
PROBE_TIMEOUT_S = 0.5
PROBE = b"GET /v2/health/live HTTP/1.0\r\n\r\n"
FIRST_OF_HTTP2 = b"\0"  # its first frame is a short one, and a frame begins with its length in three bytes


def otherwise(url: str, address: str, secure: Secure | None, timeout_s: float) -> InferenceError | None:
    """A more exact error than "no answer", where one is known within `timeout_s`."""
    try:
        return within(timeout_s, lambda: _otherwise(url, address, secure, time.monotonic() + timeout_s))
    except TimeoutError:
        return None


def speaks_tls(address: str, timeout_s: float) -> bool:
    """Whether the server speaks TLS, as far as that is known within `timeout_s`."""
    try:
        return within(timeout_s, lambda: _spoken_in_tls(address, time.monotonic() + timeout_s) is not None)
    except TimeoutError:
        return False


def _otherwise(url: str, address: str, secure: Secure | None, ends: float) -> InferenceError | None:
    if secure is None:
        if _spoken_in_tls(address, ends) is not None:
            return only_tls(url)
        # Triton's HTTP port closes a connection that begins in gRPC without a word, as a server that dies does.
        talks = url.startswith("grpc") and _first_byte(address, ends) not in (b"", FIRST_OF_HTTP2)
        return wrong_protocol(url) if talks else None
    handshake = _handshake(address, secure, ends)
    if isinstance(handshake.failure, ssl.SSLError) and (err := error_from_ssl(url, handshake.failure, secure)):
        return err
    if handshake.is_done and handshake.failure is not None:
        return refused_without_a_word(url, secure)
    protocol = _spoken_in_tls(address, ends)
    if handshake.is_done:  # the gateway's port for gRPC shakes hands with HTTP too, and hangs up
        return wrong_protocol(url) if handshake.alpn is None and protocol == ALPN["grpc"] else None
    return no_tls(url) if protocol is None and _first_byte(address, ends) else None


def _spoken_in_tls(address: str, ends: float) -> str | None:
    """Which of h2 and http/1.1 the server chooses, "" for neither; None where it does not speak TLS.

    Nothing is sent over the connection, so the server's certificate is not checked.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([ALPN["grpc"], ALPN["http"]])
    try:
        with _connected(address, ends) as probe, context.wrap_socket(probe) as wrapped:
            return wrapped.selected_alpn_protocol() or ""
    except ssl.SSLError as err:
        return "" if "ALERT" in (err.reason or "") else None
    except OSError:
        return None


class Handshake(NamedTuple):
    """What ended a handshake, or the connection just after it; whether it was done; the protocol that was chosen."""

    failure: OSError | None
    is_done: bool
    alpn: str | None


def _handshake(address: str, secure: Secure, ends: float) -> Handshake:
    """A handshake, and a moment more: a server of TLS 1.3 refuses our certificate only after it."""
    name = secure.server_name or host_and_port(address)[0]
    is_done, alpn = False, None
    try:
        with (
            _connected(address, ends) as probe,
            secure.context.wrap_socket(probe, server_hostname=name, suppress_ragged_eofs=False) as wrapped,
        ):
            is_done, alpn = True, wrapped.selected_alpn_protocol()
            ended = wrapped.read(1) == b""
            return Handshake(ConnectionResetError() if ended else None, True, alpn)
    except TimeoutError:
        return Handshake(None, is_done, alpn)
    except OSError as err:
        return Handshake(err, is_done, alpn)


def _first_byte(address: str, ends: float) -> bytes:
    try:
        with _connected(address, ends) as probe:
            probe.sendall(PROBE)
            return probe.recv(1)
    except OSError:
        return b""


def _connected(address: str, ends: float) -> socket.socket:
    limit_s = min(PROBE_TIMEOUT_S, ends - time.monotonic())
    if limit_s <= 0:
        raise TimeoutError("the deadline is over")
    probe = socket.create_connection(host_and_port(address), limit_s)
    probe.settimeout(limit_s)
    return probe
