"""Steady load on a gateway: several callers, each with connections of its own, and how their requests ended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx

from tests.gateway.asking import Asker, binary_body, infer_message
from tests.gateway.conftest import Home, wait_until

INFER = "/v2/models/echo/infer"
TENSOR_BYTES = 2000
Protocol = Literal["rest", "grpc"]


@dataclass
class Load:
    """How many requests ended how: `OK`, or what went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> int:
        return self.outcomes.total()

    @property
    def failures(self) -> list[str]:
        return [outcome for outcome in self.outcomes.elements() if outcome != "OK"]

    def wait_for(self, more: int) -> None:
        """Until so many more requests have ended."""
        enough = self.done + more
        wait_until(lambda: self.done >= enough, f"{enough} requests have ended", within_s=60)


@contextmanager
def steady(home: Home, token: str, protocol: Protocol, threads: int = 4, *, rest_s: float = 0.0) -> Iterator[Load]:
    """Callers that ask the model echo again and again, each with a rest between, until the block ends."""
    load, stop = Load(), threading.Event()

    def run() -> None:
        asker = Asker(home)
        ask: Callable[[Asker, str], str] = {"rest": ask_rest, "grpc": ask_grpc}[protocol]
        while not stop.is_set():
            outcome = ask(asker, token)
            with load.lock:
                load.outcomes[outcome] += 1
            if rest_s:
                stop.wait(rest_s)
        asker.close()

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield load
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def ask_rest(asker: Asker, token: str) -> str:
    body, headers = binary_body(TENSOR_BYTES)
    try:
        answer = asker.ask("POST", INFER, token, content=body, headers=headers)
    except httpx.TransportError as err:
        return repr(err)
    return "OK" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"


def ask_grpc(asker: Asker, token: str) -> str:
    return asker.call(infer_message(size=TENSOR_BYTES), token)
