"""Steady load on a door from several threads, and what failed of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Load:
    """Calls that came back right, and the answers of those that did not."""

    done: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def steady(ask: Callable[[], str], threads: int = 4) -> Iterator[Load]:
    """Ask again and again until the block ends; `ask` gives "OK" or what went wrong."""
    load, stop = Load(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            answer = ask()
            with load.lock:
                if answer == "OK":
                    load.done += 1
                else:
                    load.failures.append(answer)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield load
    finally:
        stop.set()
        for worker in workers:
            worker.join()
