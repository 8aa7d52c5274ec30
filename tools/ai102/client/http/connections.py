"""Open HTTP connections for threads: kept between requests, and never waited for longer than a deadline.

`http.client` reads the answers. httpx would replace this module and costs too much: a call of 0.84 ms to digits_int8
takes 2.08 times as long (quartiles 1.77 to 2.19), one of 1.7 ms 1.64 times (1.44 to 1.86); the limit is 1.1 times. In
place of aiohttp it takes 2.61 times (2.12 to 2.85) and 1.29 times (1.01 to 2.08). `make bench-client ARGS="--only
httpx"` measures it: here on 2026-11-28 on 2 busy cores, with httpx 0.28.1, aiohttp 3.14.5, Python 3.11.7 and
tritonserver 2.51.0.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import HTTPResponse
from typing import Any, NamedTuple

from ai102.client.exchange import SILENT_HOST_S
from ai102.client.http.messages import HttpRequest
from ai102.client.in_time import within
from ai102.client.tls import Secure
from ai102.host.listen import host_and_port

# Connections kept open to each server; more are opened when more threads ask at once, and closed again.
KEPT_OPEN = 32
# Bodies up to this size leave in one piece with the head: one packet, and the server wakes once.
JOINED_BYTES = 64 * 1024


class HttpResponse(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """A connection, plain or inside TLS. Every wait of it ends at `ends`.

    A socket's own timeout begins anew with every byte that arrives.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.ends = 0.0
        self._socket = connected

    def send(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            view = view[self._with_limit().send(view) :]

    def receive_into(self, buffer: Any) -> int:
        return self._with_limit().recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client reads an answer from; to close it leaves the connection open."""
        return io.BufferedReader(_Reader(self))

    def _with_limit(self) -> socket.socket:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline is over")
        self._socket.settimeout(left)
        return self._socket

    @property
    def is_stale(self) -> bool:
        """The server closed it, or sent something unasked, while nobody used it.

        TLS's own messages, such as a session ticket, are read and are no reason.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not isinstance(self._socket, ssl.SSLSocket):
            return bool(poll.poll(0))
        if self._socket.pending():
            return True
        if not poll.poll(0):
            return False
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            pass
        return True

    def fileno(self) -> int:
        """-1 once it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive_into(buffer)


class Connections:
    """The idle connections of one client, by address; threads may share it."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._idle: dict[str, deque[Connection]] = {}
        self._secure = secure
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def borrow(self, address: str, ends: float, connect_timeout_s: float) -> Iterator[Connection]:
        """A connection, closed unless the block ends well. Raises OSError when none can be opened."""
        connection = self._take(address) or self._opened(address, min(ends - time.monotonic(), connect_timeout_s))
        connection.ends = ends
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._keep(address, connection)

    def _opened(self, address: str, timeout_s: float) -> Connection:
        ends = time.monotonic() + timeout_s
        plain = _connected(address, ends)
        if self._secure is None:
            return Connection(plain)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(plain.close)
            plain.settimeout(max(ends - time.monotonic(), 0.001))
            name = self._secure.server_name or host_and_port(address)[0]
            # An end without TLS's own closing message is no end of an answer.
            wrapped = self._secure.context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False)
            on_failure.pop_all()
        return Connection(wrapped)

    def _take(self, address: str) -> Connection | None:
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

    def _keep(self, address: str, connection: Connection) -> None:
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


def ask(connection: Connection, request: HttpRequest, host: str) -> HttpResponse:
    """Raises OSError and http.client.HTTPException."""
    size = sum(len(part) for part in request.parts)
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {size}"]
    lines += [f"{key}: {value}" for key, value in request.headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if size <= JOINED_BYTES:
        connection.send(b"".join((head, *request.parts)))
    else:
        connection.send(head)
        for part in request.parts:
            connection.send(part)
    response = HTTPResponse(connection, method=request.method)  # type: ignore[arg-type]  # it calls makefile alone
    try:
        response.begin()
        body = response.read()
        if response.will_close:
            connection.close()
        return HttpResponse(response.status, response.headers, body)  # type: ignore[arg-type]
    finally:
        response.close()


def _connected(address: str, ends: float) -> socket.socket:
    """As socket.create_connection, with one time limit for the name and all its addresses."""
    failure: OSError = TimeoutError("timed out")
    for where in _resolved(address, ends - time.monotonic()):
        connection = unconnected(where)
        try:
            connection.settimeout(max(ends - time.monotonic(), 0.001))
            connection.connect(where[4])
        except OSError as err:
            connection.close()
            failure = err
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def unconnected(where: Any) -> socket.socket:
    """A socket for a row of socket.getaddrinfo, whose connection breaks when the host at its other end is gone."""
    family, kind, protocol, _, _ = where
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * SILENT_HOST_S))
        # While an answer is waited for nothing is sent: probes are.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(SILENT_HOST_S))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    return made


def _resolved(address: str, timeout_s: float) -> Any:
    host, port = host_and_port(address)
    resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return within(timeout_s, resolve)
    return resolve()
