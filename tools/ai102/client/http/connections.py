"""Open HTTP connections for threads: kept between requests, and never waited for longer than a deadline.

http.client reads the answers. Writing the request ourselves spares the copies and the second packet of its writer;
the deadline needs a socket of our own, because a timeout of the library's begins anew with every byte that arrives.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any, NamedTuple

from ai102.client.addresses import host_and_port
from ai102.client.http.messages import HttpRequest
from ai102.client.tls import Secure

# Connections kept open to each server; more are opened when more threads ask at once, and closed again.
KEPT_OPEN = 32
# Bodies up to this leave in one piece with the head: one packet and one waking of the server.
JOINED_BYTES = 64 * 1024


class HttpResponse(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(socket.socket):
    """A TCP connection whose every wait ends at `ends`."""

    ends = 0.0

    def _limit(self) -> None:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        self.settimeout(left)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:  # what http.client reads through
        self._limit()
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any) -> None:
        self._limit()
        super().sendall(*args)

    @property
    def is_stale(self) -> bool:
        """The server closed it, or said something unasked, while nobody used it."""
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return bool(poll.poll(0))


class TlsConnection(ssl.SSLSocket):
    """The same inside TLS."""

    ends = 0.0

    def _limit(self) -> None:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        self.settimeout(left)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self._limit()
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any) -> int:  # what its sendall calls, as often as it takes
        self._limit()
        return super().send(*args)

    @property
    def is_stale(self) -> bool:
        """As above; what TLS itself has to say now and then, such as a session ticket, is read and no reason."""
        if self.pending():
            return True
        poll = select.poll()
        poll.register(self, select.POLLIN)
        if not poll.poll(0):
            return False
        self.settimeout(0)
        try:
            self.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            pass
        return True


AnyConnection = Connection | TlsConnection


class Connections:
    """The idle connections of one client, by address; threads may share it."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._idle: dict[str, deque[AnyConnection]] = {}
        self._secure = secure
        if secure is not None:
            secure.context.sslsocket_class = TlsConnection
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def borrow(self, address: str, ends: float, connect_timeout_s: float) -> Iterator[AnyConnection]:
        """A connection, closed unless the block ends well. Raises OSError when none can be opened."""
        connection = self._take(address) or self._opened(address, min(ends - time.monotonic(), connect_timeout_s))
        connection.ends = ends
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._keep(address, connection)

    def _opened(self, address: str, timeout_s: float) -> AnyConnection:
        ends = time.monotonic() + timeout_s
        plain = _connected(address, timeout_s)
        if self._secure is None:
            return plain
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(plain.close)
            plain.settimeout(max(ends - time.monotonic(), 0.001))
            name = self._secure.server_name or host_and_port(address)[0]
            # An end without TLS's own word for it is no end of an answer.
            wrapped = self._secure.context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False)
            on_failure.pop_all()
        return wrapped  # type: ignore[return-value]  # of the context's sslsocket_class

    def _take(self, address: str) -> AnyConnection | None:
        idle = self._idle.get(address)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if not connection.is_stale:
                return connection
            connection.close()
        return None

    def _keep(self, address: str, connection: AnyConnection) -> None:
        with self._lock:
            idle = self._idle.setdefault(address, deque())
            if connection.fileno() >= 0 and len(idle) < KEPT_OPEN and not self._is_closed:
                idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for idle in self._idle.values():
                while idle:
                    with contextlib.suppress(IndexError):
                        idle.pop().close()


def ask(connection: AnyConnection, request: HttpRequest, host: str) -> HttpResponse:
    """Raises OSError and http.client.HTTPException."""
    size = sum(len(part) for part in request.parts)
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {size}"]
    lines += [f"{key}: {value}" for key, value in request.headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if size <= JOINED_BYTES:
        connection.sendall(b"".join((head, *request.parts)))
    else:
        connection.sendall(head)
        for part in request.parts:
            connection.sendall(part)
    response = HTTPResponse(connection, method=request.method)
    try:
        response.begin()
        body = response.read()
        if response.will_close:
            connection.close()
        return HttpResponse(response.status, response.headers, body)  # type: ignore[arg-type]
    finally:
        response.close()


def _connected(address: str, timeout_s: float) -> Connection:
    """As socket.create_connection, with a class of our own."""
    failure: OSError = TimeoutError("timed out")
    ends = time.monotonic() + timeout_s
    for family, kind, protocol, _, place in socket.getaddrinfo(*host_and_port(address), type=socket.SOCK_STREAM):
        connection = Connection(family, kind, protocol)
        try:
            connection.settimeout(max(ends - time.monotonic(), 0.001))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.connect(place)
        except OSError as err:
            connection.close()
            failure = err
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure
