"""The cost of sealed payloads: `python -m loadtest.seal_speed` prints it for several sizes.

Goals: 1 ms to seal a request of 100 kB, 0.1 ms for the default replay memory (one SQLite file per host).
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from ai102_runtime.seal.envelope import Key, Seen, open_request, open_response, seal_request, seal_response
from ai102_runtime.seal.keys import Keys
from ai102_runtime.seal.replay import InSharedFolder, OnThisHost

SIZES = (1_000, 100_000, 1_000_000)
ROUNDS = 2000
MODEL = "sealed_classify_image"
GOALS_MS = {"seal a request of 100 kB": 1.0, "remember it: one host": 0.1}


def times_us(action: Callable[[int], object]) -> list[float]:
    for number in range(ROUNDS // 10):
        action(-1 - number)
    durations_us = []
    for number in range(ROUNDS):
        start = time.perf_counter_ns()
        action(number)
        durations_us.append((time.perf_counter_ns() - start) / 1000)
    return sorted(durations_us)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def actions(folder: Path) -> dict[str, Callable[[int], object]]:
    """The timed actions by name; each gets the number of its round."""
    key = Key("speed", os.urandom(32))
    ring = Keys({key.id: key}, key.id)
    timed: dict[str, Callable[[int], object]] = {}
    for size in SIZES:
        data, name = os.urandom(size), f"{size // 1000} kB"
        requests = [seal_request(key, data, MODEL, now_ms()) for _ in range(20)]
        answer = seal_response(ring, requests[0].head, data[:200], now_ms())
        timed[f"seal a request of {name}"] = lambda n, data=data: seal_request(key, data, MODEL, now_ms())
        timed[f"open it ({name})"] = lambda n, requests=requests: open_request(
            ring, requests[n % 20].envelope, MODEL, Everything(), now_ms()
        )
    timed["seal an answer of 200 B"] = lambda n: seal_response(ring, requests[0].head, data[:200], now_ms())
    timed["open it (200 B)"] = lambda n: open_response(key, requests[0].head, answer, now_ms())
    memories: dict[str, Seen] = {
        "one host": OnThisHost(folder / "seen"),
        "a shared folder": InSharedFolder(folder),
    }
    for name, seen in memories.items():
        timed[f"remember it: {name}"] = lambda n, seen=seen: seen.is_first("speed", os.urandom(12), now_ms(), now_ms())
    return timed


class Everything:
    """Accepts every request, so that opening is timed without the replay memory."""

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        return True


def main() -> None:
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for name, action in actions(Path(folder)).items():
            times = times_us(action)
            median, p1, p99 = statistics.median(times), times[ROUNDS // 100], times[-ROUNDS // 100]
            goal_ms = GOALS_MS.get(name)
            goal = "" if goal_ms is None else f"  goal {goal_ms * 1000:.0f}"
            print(f"{name:28} median {median:7.1f} us  p1 {p1:7.1f}  p99 {p99:7.1f}{goal}")  # noqa: T201
            if goal_ms is not None and median > goal_ms * 1000:
                missed.append(name)
    print(  # noqa: T201
        f"{ROUNDS} rounds each, one thread; {os.cpu_count()} CPUs, {platform.machine()}, Python"
        f" {platform.python_version()}, cryptography {version('cryptography')}, {time.strftime('%Y-%m-%d')}"
    )
    if missed:
        sys.exit(f"over the goal: {', '.join(missed)}")


if __name__ == "__main__":
    main()
