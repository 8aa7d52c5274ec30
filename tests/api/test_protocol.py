"""What comes before a body is bounded."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse

from ai102.api.limits import Limits
from ai102.api.protocol import MAX_HEADER_BYTES
from ai102.api.serve import config_for
from ai102.host.listen import tcp_listener

IN_TIME_S = 20.0


async def echo(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    request = Request(scope, receive)
    body = await request.body()
    await JSONResponse({"path": scope["path"], "bytes": len(body)})(scope, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    listener = tcp_listener("127.0.0.1:0", backlog=16, named="test")
    server = uvicorn.Server(config_for(echo, Limits(), None))  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(timeout=IN_TIME_S)
    listener.close()


@contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, IN_TIME_S) as connection:
        yield connection


def answered(connection: socket.socket) -> bytes:
    """All that comes until the server closes, or an answer to a request has ended."""
    text = b""
    while part := connection.recv(65536):
        text += part
        if b"\r\n\r\n" in text and text.endswith(b"}"):
            break
    return text


def test_headers_that_do_not_end_are_refused_and_the_connection_ends(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for _ in range(MAX_HEADER_BYTES // 1000 + 2):
            try:
                connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")
            except OSError:
                break
        answer = answered(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_request_line_without_an_end_is_refused(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /" + b"a" * (2 * MAX_HEADER_BYTES))
        assert answered(connection).startswith(b"HTTP/1.1 400 ")


def test_a_long_body_after_long_headers_passes_and_so_does_the_next_request(address: tuple[str, int]) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 12000 + b"\r\nContent-Length: 200000\r\n\r\n"
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(head)
            connection.sendall(b"z" * 200000)
            answer = answered(connection)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b'{"path":"/a","bytes":200000}')


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET  / HTTP\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(address: tuple[str, int], request_bytes: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        answer = answered(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
