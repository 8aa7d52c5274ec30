"""Steady calls on the stack's gateway, one caller a way: how they ended, and how long nothing was answered."""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ai102.client import Client, InferenceError, Retry, Tls, bytes_array
from ai102_runtime.health.samples import PNG

Ask = Callable[[], str]
OK = "OK"


@dataclass
class Calls:
    """What came of the calls of one way. `longest_gap_s`: the longest time between two that succeeded."""

    outcomes: Counter[str] = field(default_factory=Counter)
    longest_gap_s: float = 0.0
    _last_ok: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            if outcome == OK:
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - self._last_ok)
                self._last_ok = now

    @property
    def count(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        return self.count - self.outcomes[OK]


@contextmanager
def steady(ways: dict[str, Callable[[ExitStack], Ask]], threads: int = 2) -> Iterator[dict[str, Calls]]:
    """Callers that ask again and again until the block ends; `ways` open a connection and give what asks by it."""
    stop = threading.Event()
    calls = {name: Calls() for name in ways}

    def run(name: str) -> None:
        with ExitStack() as opened:
            ask = ways[name](opened)
            while not stop.is_set():
                outcome = ask()
                calls[name].add(outcome)
                if outcome != OK:
                    stop.wait(0.05)  # a gateway that is away refuses thousands of calls a second

    workers = [threading.Thread(target=run, args=(name,)) for name in ways for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield calls
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def ways_to(ca: Path, token: str) -> dict[str, Callable[[ExitStack], Ask]]:
    """gRPC and REST of Triton, the friendly API, and a login: each once, without a retry."""

    def triton(url: str) -> Callable[[ExitStack], Ask]:
        def opened(stack: ExitStack) -> Ask:
            headers = {"authorization": f"Bearer {token}"}
            client = stack.enter_context(
                Client(
                    url, tls=Tls(ca_file=ca), headers=headers, retry=Retry(tries=1), timeout_s=10, shared_memory=False
                )
            )

            def ask() -> str:
                try:
                    client.infer("classify_image", {"image": bytes_array([PNG])})
                except InferenceError as err:
                    return f"{type(err).__name__}: {err}"
                return OK

            return ask

        return opened

    def http(path: str, wanted: int, send: Callable[[httpx.Client, str], httpx.Response]) -> Callable[[ExitStack], Ask]:
        def opened(stack: ExitStack) -> Ask:
            client = stack.enter_context(
                httpx.Client(
                    verify=ssl.create_default_context(cafile=ca), timeout=10, base_url="https://localhost:8080"
                )
            )

            def ask() -> str:
                try:
                    status = send(client, path).status_code
                except httpx.TransportError as err:
                    return repr(err)
                return OK if status == wanted else str(status)

            return ask

        return opened

    def upload(client: httpx.Client, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return client.post(path, files={"images": ("one.png", PNG)}, headers=headers)

    def keys(client: httpx.Client, path: str) -> httpx.Response:
        return client.get(path)

    return {
        "gRPC": triton("grpcs://localhost:8081"),
        "REST": triton("https://localhost:8080"),
        "API": http("/v1/classify", 200, upload),
        "issuer": http("/.well-known/jwks.json", 200, keys),
    }
