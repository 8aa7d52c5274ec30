"""What listens at an address that never answered: asked once more, in other words, after a failure and only then."""

from __future__ import annotations

import socket
import ssl
import time
from typing import NamedTuple

from ai102.client.addresses import host_and_port
from ai102.client.errors import InferenceError, no_tls, only_tls, wrong_protocol
from ai102.client.tls import ALPN, Secure, error_from_ssl, refused_without_a_word

# No longer than this for a question.
PROBE_TIMEOUT_S = 0.5
PROBE = b"GET /v2/health/live HTTP/1.0\r\n\r\n"
FIRST_OF_HTTP2 = b"\0"  # its first frame is a short one, and a frame begins with its length in three bytes


def otherwise(url: str, address: str, secure: Secure | None, timeout_s: float) -> InferenceError | None:
    """Why nothing came that the URL promises, where more than one word can be had within `timeout_s`."""
    ends = time.monotonic() + timeout_s
    if secure is None:
        if speaks_tls(address, timeout_s):
            return only_tls(url)
        # Triton's HTTP port closes a connection that begins in gRPC without a word, as a server that dies does.
        talks = url.startswith("grpc") and _first_said(address, ends - time.monotonic()) not in (b"", FIRST_OF_HTTP2)
        return wrong_protocol(url) if talks else None
    failure, has_shaken_hands, alpn = _tried(address, secure, timeout_s)
    if isinstance(failure, ssl.SSLError) and (told := error_from_ssl(url, failure, secure)):
        return told
    if has_shaken_hands and failure is not None:
        return refused_without_a_word(url, secure)
    speaks = _spoken_in_tls(address, ends - time.monotonic())
    if has_shaken_hands:  # the door's port for gRPC shakes hands with HTTP too, and hangs up
        return wrong_protocol(url) if alpn is None and speaks == ALPN["grpc"] else None
    return no_tls(url) if speaks is None and _first_said(address, ends - time.monotonic()) else None


def speaks_tls(address: str, timeout_s: float) -> bool:
    return _spoken_in_tls(address, timeout_s) is not None


def _spoken_in_tls(address: str, timeout_s: float) -> str | None:
    """Which of h2 and http/1.1 is chosen there, "" for neither; None where no TLS is spoken.

    Nothing is sent over the connection, so it matters to nobody whom it is with.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([ALPN["grpc"], ALPN["http"]])
    try:
        with _connected(address, timeout_s) as probe, context.wrap_socket(probe) as wrapped:
            return wrapped.selected_alpn_protocol() or ""
    except ssl.SSLError as err:
        return "" if "ALERT" in (err.reason or "") else None
    except OSError:
        return None


class Tried(NamedTuple):
    """What ended a handshake, or the connection just after it, which of the two, and what was to be spoken there."""

    failure: OSError | None
    has_shaken_hands: bool
    alpn: str | None


def _tried(address: str, secure: Secure, timeout_s: float) -> Tried:
    """A handshake, and a moment for what a server of TLS 1.3 tells of our certificate only then."""
    name = secure.server_name or host_and_port(address)[0]
    has_shaken_hands, alpn = False, None
    try:
        with (
            _connected(address, timeout_s) as probe,
            secure.context.wrap_socket(probe, server_hostname=name, suppress_ragged_eofs=False) as wrapped,
        ):
            has_shaken_hands, alpn = True, wrapped.selected_alpn_protocol()
            ended = wrapped.read(1) == b""
            return Tried(ConnectionResetError() if ended else None, True, alpn)
    except TimeoutError:
        return Tried(None, has_shaken_hands, alpn)
    except OSError as err:
        return Tried(err, has_shaken_hands, alpn)


def _first_said(address: str, timeout_s: float) -> bytes:
    try:
        with _connected(address, timeout_s) as probe:
            probe.sendall(PROBE)
            return probe.recv(1)
    except OSError:
        return b""


def _connected(address: str, timeout_s: float) -> socket.socket:
    limit_s = min(PROBE_TIMEOUT_S, timeout_s)
    if limit_s <= 0:
        raise TimeoutError("the deadline is over")
    probe = socket.create_connection(host_and_port(address), limit_s)
    probe.settimeout(limit_s)
    return probe
