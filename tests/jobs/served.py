"""The API with jobs as a person starts it, with no Triton behind it, and a worker that makes up the answers."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ai102.jobs.item import Form, Item, item_of_tensors
from ai102.jobs.job import Claimed, Ended, State
from ai102.jobs.ledger.ledger import Ledger

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "ai102", "api", "serve", "--listen", "127.0.0.1:0", "--url", "grpc://127.0.0.1:9"]
LEASE_S = 600.0


class JobsApi(NamedTuple):
    """Where it listens, and the ledger that it keeps jobs in."""

    url: str
    ledger: Ledger

    def count(self) -> int:
        return sum(self.ledger.count_by_state().values())


@contextmanager
def jobs_api(folder: Path) -> Iterator[JobsApi]:
    process = subprocess.Popen(
        [*COMMAND, "--jobs", str(folder)], cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    ledger = None
    try:
        line = process.stderr.readline()
        assert line.startswith("ready: http://"), line + process.stderr.read()
        ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        yield JobsApi(line.split()[1], ledger)
    finally:
        if ledger:
            ledger.close()
        process.terminate()
        process.wait(timeout=30)
        process.stderr.close()


def label(words: str = "seven", score: float = 0.75) -> Item:
    """What classify_image answers to one image."""
    data = words.encode()
    return item_of_tensors(
        [
            (Form("label", "BYTES", (1,)), len(data).to_bytes(4, "little") + data),
            (Form("score", "FP32", (1,)), np.float32(score).tobytes()),
            (Form("scores", "FP32", (3,)), np.array([0.25, score, np.nan], np.float32).tobytes()),
        ]
    )


def succeeded(claimed: Claimed) -> Ended:
    return Ended(claimed.id, claimed.claim, State.SUCCEEDED, label())


def failed(claimed: Claimed) -> Ended:
    return Ended(claimed.id, claimed.claim, State.FAILED, None, "the image is truncated or corrupt")


def work(ledger: Ledger, limit: int = 1000, ended: Callable[[Claimed], Ended] = succeeded) -> int:
    """End up to `limit` of the jobs that wait, the newest first; how many there were."""
    waiting = [job.id for job in ledger.page(None, State.QUEUED, limit=limit)]
    return ledger.end([ended(one) for one in ledger.claim(waiting, LEASE_S).claimed])


@contextmanager
def working(ledger: Ledger, ended: Callable[[Claimed], Ended] = succeeded) -> Iterator[None]:
    """A worker beside the test, until the block ends."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.01):
            work(ledger, 100, ended)

    worker = threading.Thread(target=run)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
