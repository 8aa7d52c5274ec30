"""Jobs a second that a contestant accepts and does, ours and the peers' measured in the same way."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ai102.jobs.job import State
from loadtest.jobs import stack
from loadtest.jobs.contestants import Peer, Running, running
from loadtest.jobs.stack import Engine
from loadtest.jobs.wire import Sent, flood, request
from loadtest.jobs.works import CONNECTIONS, calls, pixels, triton

WARM_S = 0.5
# A worker that has not begun after this time does not.
BEGIN_S = 60.0
SETTLE_S = 10.0
ACCEPTED_MANY = "accepted_per_s"
ACCEPTED_ONE = "accepted_one_by_one_per_s"
DONE = "done_per_s"


def of_peer(key: str, seconds: float) -> dict[str, Any]:
    """A peer without a worker accepts and computes at once: it is given `seconds`, and then time to end."""
    with tempfile.TemporaryDirectory(prefix="jobs-peer-") as name, running(key, Path(name)) as peer:
        one = _flood(peer, 1, seconds)
        figures: dict[str, Any] = {ACCEPTED_ONE: round(one.per_second), "one_p50_ms": _p50_ms(one)}
        if not (peer.peer.worker or peer.peer.worker_name):
            return figures
        _settle(peer)
        size = peer.peer.call
        before, began = peer.done(), time.perf_counter()
        many = _flood(peer, size, seconds)
        figures |= {ACCEPTED_MANY: round(many.per_second * size), "many_p50_ms": _p50_ms(many), "call": size}
        if peer.peer.worker:
            peer.worker.start()
            return figures | {DONE: round(_rate(peer.done, seconds))}
        # What it has not done by then, it will do no faster.
        ends = time.perf_counter() + seconds
        count = peer.done() - before
        while count < many.requests * size and time.perf_counter() < ends:
            time.sleep(0.05)
            count = peer.done() - before
        return figures | {DONE: round(count / (time.perf_counter() - began)), "done_beside_accepting": True}


def of_ours(engine: Engine, seconds: float) -> dict[str, Any]:
    """As a peer that has a worker, which here asks Triton."""
    with triton() as server, stack.emptied(engine) as (where, ledger), stack.api(where.api) as (_, address):
        flood(address, calls(1), CONNECTIONS, WARM_S)
        one = flood(address, calls(1), CONNECTIONS, seconds)
        flood(address, calls(100), CONNECTIONS, WARM_S)
        many = flood(address, calls(100), CONNECTIONS, seconds)
        with stack.worker(where.worker, f"grpc://{server.grpc_url}"):
            done = _rate(lambda: ledger.count_by_state()[State.SUCCEEDED], seconds)
    return {
        ACCEPTED_ONE: round(one.per_second), "one_p50_ms": _p50_ms(one), ACCEPTED_MANY: round(many.per_second * 100),
        "many_p50_ms": _p50_ms(many), "call": 100, DONE: round(done),
    }  # fmt: skip


def _flood(peer: Running, jobs: int, seconds: float) -> Sent:
    messages = [request(*_call(peer.peer, jobs)) for _ in range(20)]
    status = str(peer.peer.status).encode()
    flood(peer.address, messages, CONNECTIONS, WARM_S, status)
    _settle(peer)
    return flood(peer.address, messages, CONNECTIONS, seconds, status)


def _call(peer: Peer, jobs: int) -> tuple[str, bytes]:
    rows = [pixels() for _ in range(jobs)]
    body = peer.one(rows[0]) if jobs == 1 else peer.many(rows)
    return peer.one_path if jobs == 1 else peer.many_path, json.dumps(body, separators=(",", ":")).encode()


def _settle(peer: Running) -> None:
    """What waits is forgotten where a queue is outside of the server, else done, or not within a time."""
    if peer.redis:
        peer.redis.asked("FLUSHALL")
        return
    ends = time.perf_counter() + SETTLE_S
    last = -1
    while (count := peer.computed()) != last and time.perf_counter() < ends:
        last = count
        time.sleep(0.3)


def _rate(done: Callable[[], int], seconds: float) -> float:
    """From the first result on, until the time is over or nothing is left to do."""
    ends = time.perf_counter() + BEGIN_S
    while not (first := done()):
        if time.perf_counter() > ends:
            raise RuntimeError(f"no job was done within {BEGIN_S:.0f} s")
        time.sleep(0.01)
    began = last_change = time.perf_counter()
    last = first
    while (now := time.perf_counter()) < began + seconds and now < last_change + 2.0:
        time.sleep(0.1)
        if (count := done()) != last:
            last, last_change = count, time.perf_counter()
    return (last - first) / (last_change - began)


def _p50_ms(sent: Sent) -> float:
    return round(statistics.median(sent.latencies_s) * 1e3, 2)
