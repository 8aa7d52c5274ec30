"""More calls than replicas can take, for a while."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.cluster.overlays.calls import Caller

CALLERS = 24
# Many long texts in one call.
TEXTS = ["A man is eating a piece of bread beside a river. " * 8] * 32


@dataclass(frozen=True)
class Load:
    asked: int
    answered: int
    slowest_s: float


def busy(caller: Caller, seconds: float) -> Load:
    """Callers without a pause; each asks again as soon as it has its answer, or none in time."""
    stop = threading.Event()
    rows: list[tuple[bool, float]] = []

    def run() -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                is_answered = caller.ask("/v1/embed", {"texts": TEXTS}).status == 200
            except OSError:
                is_answered = False
            rows.append((is_answered, time.monotonic() - began))

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(run) for _ in range(CALLERS)]
        stop.wait(seconds)
        stop.set()
        for each in callers:
            each.result()
    return Load(len(rows), sum(is_answered for is_answered, _ in rows), max(took_s for _, took_s in rows))
