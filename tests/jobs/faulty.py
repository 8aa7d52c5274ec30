"""A proxy before the API that fails where a test wants it to."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

IN_TIME_S = 30.0
Fault = Callable[["Handler"], None]


class Proxy:
    """`faults`: each (beginning of a request line, fault) is used up by the first request that begins so."""

    def __init__(self, url: str) -> None:
        self.target = urlsplit(url).netloc
        self.url = ""
        self.faults: list[tuple[str, Fault]] = []
        self.requests: list[tuple[str, bytes]] = []
        self.is_reached = threading.Event()  # a fault that holds a request is under way
        self.is_over = threading.Event()
        self._lock = threading.Lock()

    def fault_for(self, line: str) -> Fault:
        with self._lock:
            for place, (beginning, fault) in enumerate(self.faults):
                if line.startswith(beginning):
                    del self.faults[place]
                    return fault
        return forward

    def sent(self, beginning: str) -> list[bytes]:
        """The bodies of the requests that begin so."""
        return [body for line, body in self.requests if line.startswith(beginning)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_GET(self) -> None:
        line = f"{self.command} {self.path}"
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.proxy.requests.append((line, self.body))
        self.proxy.fault_for(line)(self)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def asked(self) -> tuple[int, dict[str, str], bytes]:
        """What the API answers."""
        connection = http.client.HTTPConnection(self.proxy.target, timeout=IN_TIME_S)
        try:
            connection.request(self.command, self.path, self.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def forward(handler: Handler) -> None:
    handler.answer(*handler.asked())


def drop(handler: Handler) -> None:
    """The connection breaks before the API has the request."""
    handler.close_connection = True


def lose_answer(handler: Handler) -> None:
    """The connection breaks when the API has answered."""
    handler.asked()
    handler.close_connection = True


def hold_answer(handler: Handler) -> None:
    """The API has answered, and the answer is held until the proxy ends."""
    handler.asked()
    stay_silent(handler)


def stay_silent(handler: Handler) -> None:
    handler.proxy.is_reached.set()
    handler.proxy.is_over.wait(IN_TIME_S)
    handler.close_connection = True


def trickle(handler: Handler) -> None:
    """An answer whose end never comes, though a part of it always does."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.proxy.is_over.wait(0.01):
        try:
            handler.wfile.write(b" ")
        except OSError:
            break
    handler.close_connection = True


def say(status: int, document: Any, **headers: str) -> Fault:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda handler: handler.answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def busy(status: int, retry_after: str = "") -> Fault:
    headers = {"Retry_After": retry_after} if retry_after else {}
    return say(status, {"status": status, "detail": "Too much is waiting: try again in a moment."}, **headers)


def say_no_http(handler: Handler) -> None:
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n\r\n")
    handler.close_connection = True


@contextmanager
def faulty(url: str) -> Iterator[Proxy]:
    proxy = Proxy(url)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        proxy.is_over.set()
        server.shutdown()
        serving.join()
        server.server_close()
