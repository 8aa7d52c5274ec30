"""Hands for the attacks: bytes over TLS as they stand, and gRPC calls whose messages are any bytes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

TIMEOUT_S = 20.0
CLOSED = 0  # the connection ended without an answer


@dataclass(frozen=True)
class Target:
    """A gateway, and what an attacker has: a caller's token that may use `echo` and not `hidden`."""

    rest: str
    grpc: str
    ca: Path
    token: str

    @property
    def bearer(self) -> str:
        return f"Authorization: Bearer {self.token}"


def connected(target: Target, address: str | None = None, protocol: str = "http/1.1") -> ssl.SSLSocket:
    """A TLS connection to the REST port, or to another address of the gateway, that speaks `protocol`."""
    context = ssl.create_default_context(cafile=str(target.ca))
    context.set_alpn_protocols([protocol])
    host, _, port = (address or target.rest).rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    return context.wrap_socket(plain, server_hostname="localhost")


def status_of(sent: ssl.SSLSocket) -> int:
    """The status of the answer, or CLOSED."""
    received = b""
    try:
        while b"\r\n" not in received:
            part = sent.recv(4096)
            if not part:
                break
            received += part
    except (ConnectionError, ssl.SSLError):
        pass
    words = received.split(b" ")
    return int(words[1]) if received.startswith(b"HTTP/1") and len(words) > 1 else CLOSED


def asked(target: Target, *parts: bytes) -> int:
    """The status of what is sent as it stands."""
    with connected(target) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (ConnectionError, ssl.SSLError):
            pass  # refused before all of it was sent; the answer may be there all the same
        return status_of(connection)


def request(line: str, *headers: str, body: bytes = b"", length: bool = True) -> bytes:
    """An HTTP/1.1 request of these lines."""
    lines = [f"{line} HTTP/1.1", "Host: localhost", *headers]
    if length and (body or line.startswith("POST")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def called(
    target: Target,
    method: str,
    *messages: bytes,
    metadata: Sequence[tuple[str, str]] | None = None,
    compression: grpc.Compression | None = None,
) -> int:
    """The number of the gRPC status; several messages make a stream. `metadata` None: the caller's token."""
    credentials = grpc.ssl_channel_credentials(target.ca.read_bytes())
    options = [("grpc.max_send_message_length", -1), ("grpc.ssl_target_name_override", "localhost")]
    sent = [("authorization", f"Bearer {target.token}")] if metadata is None else list(metadata)
    with grpc.secure_channel(target.grpc, credentials, options) as channel:
        try:
            if method.endswith("StreamInfer"):
                call = channel.stream_stream(method)
                list(call(iter(messages), timeout=TIMEOUT_S, metadata=sent))
            else:
                (message,) = messages
                channel.unary_unary(method)(message, timeout=TIMEOUT_S, metadata=sent, compression=compression)
        except grpc.RpcError as err:
            return int(err.code().value[0])
    return 0
