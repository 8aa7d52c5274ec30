"""The load as a process in the client's machine: started, given another rate, ended, and its calls read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ai102.errors import UserError
from k8s.local import namespaces
from k8s.local.plan import CLIENT, ROOT, Plan
from k8s.local.waiting import until
from tests.cluster.calls.asking import OURS, WAYS, Place
from tests.cluster.calls.load import Order, calls_from_text
from tests.cluster.calls.record import Call

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CLIENTS = 3  # for each protocol
CALLERS = 48  # of a closed loop that finds the capacity: enough for full batches in every replica
END_WITHIN_S = 60.0
# Standard deviations that a Poisson process is waited for beyond the calls that are wanted.
SPREAD = 4.0


class Driven:
    """A load that runs, and is to make so many calls."""

    def __init__(self, process: subprocess.Popen[str], file: Path, rate: float, least_calls: int) -> None:
        self._process, self._file = process, file
        self.rate = rate
        self._least_calls, self._calls, self._since_s = least_calls, 0.0, time.monotonic()

    @property
    def calls(self) -> float:
        """How many calls were due until now, on average of a Poisson process."""
        return self._calls + (time.monotonic() - self._since_s) * self.rate

    def set_rate(self, rate: float) -> None:
        self._calls, self._since_s, self.rate = self.calls, time.monotonic(), rate
        write_line(self._process, f"{rate}")

    def check(self) -> None:
        """Raises UserError when it has ended by itself."""
        if (status := self._process.poll()) is not None:
            raise UserError(f"the load has ended with {status} in the middle of its scenario")

    def wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        until(lambda: time.monotonic() >= ends, "the time is over", seconds + 10, self.check)

    def wait_for_calls(self) -> None:
        """Until enough calls are made for certain."""
        wanted = self._least_calls + SPREAD * self._least_calls**0.5
        within_s = (wanted - self.calls) / self.rate + 10
        until(lambda: self.calls >= wanted, f"{wanted:.0f} calls are made", within_s, self.check)

    def end(self) -> list[Call]:
        """All its calls, once those in flight have ended. Raises UserError when it failed."""
        self.check()
        assert self._process.stdin is not None
        self._process.stdin.close()
        if status := self._process.wait(END_WITHIN_S):
            raise UserError(f"the load has ended with {status}")
        return calls_from_text(self._file.read_text(encoding="utf-8"))


@contextmanager
def started(plan: Plan, module: str, order: DataclassInstance) -> Iterator[subprocess.Popen[str]]:
    """A load in the client's machine that has its order and is ready; it is killed with the block.

    Raises UserError where it does not get ready.
    """
    process = subprocess.Popen(
        namespaces.command_in(plan.namespace(CLIENT), [sys.executable, "-m", module]),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # Whatever else runs on this machine, calls are sent when they are due.
        os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(1))
        assert process.stdout is not None
        write_line(process, json.dumps(asdict(order)))
        if process.stdout.readline() != "ready\n":
            raise UserError(f"the load does not start: it has ended with {process.wait(END_WITHIN_S)}")
        yield process
    finally:
        process.kill()
        process.wait()


def write_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


@contextmanager
def driven(
    plan: Plan,
    place: Place,
    *,
    client: str = OURS,
    ways: tuple[str, ...] = WAYS,
    clients: int = CLIENTS,
    rate: float = 0.0,
    callers: int = 0,
    least_calls: int = 0,
) -> Iterator[Driven]:
    """A load whose clients are connected, at `rate` calls a second or from `callers`; ended with the block."""
    file = plan.folder / "calls.json"
    order = Order(place, client, ways, clients, rate, callers, str(file))
    with started(plan, "tests.cluster.calls.load", order) as process:
        yield Driven(process, file, rate, least_calls)
