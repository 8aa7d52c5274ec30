"""HTTP/1.1 requests that are made beforehand, sent on connections that stay open; a client that costs little."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple


class Sent(NamedTuple):
    """What a run of requests came to."""

    requests: int
    seconds: float
    latencies_s: list[float]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection:
    def __init__(self, address: str, timeout_s: float = 30.0) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def ask(self, message: bytes, status: bytes = b"202") -> bytes:
        """The answer's body. Raises RuntimeError for another status, OSError when the connection ends."""
        self._socket.sendall(message)
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            self._more()
        head = self._held[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at : (head.find(b"\r\n", at) + 1 or len(head) + 1) - 1])
        while len(self._held) < end + 4 + length:
            self._more()
        body = self._held[end + 4 : end + 4 + length]
        self._held = self._held[end + 4 + length :]
        if head.split(b" ", 2)[1] != status:
            raise RuntimeError(f"{head[:60]!r} {body[:200]!r}")
        return body

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> None:
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed the connection")
        self._held += part


def flood(address: str, messages: Sequence[bytes], connections: int, seconds: float, status: bytes = b"202") -> Sent:
    """Send the messages round and round on so many connections, each as soon as its answer before is there."""
    latencies: list[list[float]] = [[] for _ in range(connections)]
    failures: list[BaseException] = []
    began = time.perf_counter()
    ends = began + seconds

    def run(number: int) -> None:
        connection = Connection(address)
        try:
            place = number
            while (before := time.perf_counter()) < ends and not failures:
                connection.ask(messages[place % len(messages)], status)
                latencies[number].append(time.perf_counter() - before)
                place += connections
        except (OSError, RuntimeError) as err:
            failures.append(err)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    took = time.perf_counter() - began
    whole = [one for some in latencies for one in some]
    return Sent(len(whole), took, whole)
