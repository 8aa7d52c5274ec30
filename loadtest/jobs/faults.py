"""The same kills for every contestant while jobs are handed in and done: kill -9 of worker, Redis and API in turn.

What was killed is started again half a second later, and so is what ended by itself. The caller repeats a call that was
not answered, and asks for results twice a second: a result that it has seen is not lost, whatever happens to it later.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import httpx

from ai102.jobs.job import JobsError
from loadtest.jobs.contestants import Program, until

ROUNDS = 2
CALLERS = 4
AGAIN_S = 0.5
RESTARTED_S = 15.0
MORE_S = 10.0
# A stage goes on without progress after this time.
STAGE_S = 30.0


class Part(Protocol):
    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass
class Contestant:
    """`parts` are killed in turn; results are waited for `patience_s` from the moment when all was handed in."""

    parts: dict[str, Part]
    url: str
    call: int
    post: Callable[[httpx.Client, range], httpx.Response]
    accepted: Callable[[Any, int], list[tuple[str, int]]]
    done: Callable[[], int]
    ended: Callable[[Sequence[str]], set[str]]
    more: Callable[[Run], dict[str, int]]
    patience_s: float


@dataclass
class Run:
    """`accepted` has by id the places of its jobs among all that were handed in."""

    accepted: dict[str, range] = field(default_factory=dict)
    calls_again: int = 0
    allowed: int = 0
    ended: set[str] = field(default_factory=set)
    is_over: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def without_result(self) -> list[range]:
        return [places for id, places in self.accepted.items() if id not in self.ended]


def row(place: int) -> list[int]:
    """64 pixels, of which the first four say the place."""
    return [place // 17**at % 17 for at in range(4)] + [(place * 7 + at) % 17 for at in range(60)]


def place_of(first: Sequence[int]) -> int:
    return sum(int(pixel) * 17**at for at, pixel in enumerate(first))


def play(opened: Contestant, jobs: int) -> dict[str, Any]:
    """As many stages as kills and one more; in each so many jobs are handed in and a part is killed halfway."""
    run = Run()
    order = list(opened.parts) * ROUNDS
    stage = jobs // (len(order) + 1)
    starts = iter(range(0, jobs, opened.call))
    handing = [threading.Thread(target=_hand_in, args=(run, opened, starts, jobs)) for _ in range(CALLERS)]
    keeping = threading.Thread(target=_keep_up, args=(run, opened))
    for thread in (*handing, keeping):
        thread.start()
    try:
        for number, name in enumerate(order):
            before = _count(opened)
            run.allowed = (number + 1) * stage
            half = number * stage + stage // 2
            with suppress(RuntimeError):
                until(partial(_is_handed, run, half), "half of the stage", STAGE_S, 0.002)
                until(partial(_is_beyond, opened, before), "some of the stage is done", STAGE_S, 0.002)
            opened.parts[name].kill()
            time.sleep(AGAIN_S)
            opened.parts[name].start()
        run.allowed = jobs
        for thread in handing:
            thread.join(120)
            assert not thread.is_alive(), "not all jobs could be handed in"
        began = time.monotonic()
        last = _all_ended(run, opened.patience_s)
        figures = {"without_result": _jobs(run.without_result), "last_result_after_s": round(last - began, 1)}
        worker = opened.parts["worker"]
        if run.without_result and isinstance(worker, Program):
            worker.stop()
            worker.start()
            _all_ended(run, RESTARTED_S)
            figures["without_result_after_worker_restart"] = _jobs(run.without_result)
    finally:
        run.is_over.set()
        for thread in (*handing, keeping):
            thread.join()
    if run.failures:
        raise run.failures[0]
    return {
        "accepted": _jobs(run.accepted.values()),
        "kills": dict(Counter(order)),
        "calls_again": run.calls_again,
        **figures,
        "ended_by_itself": sum(one.ended_itself for one in opened.parts.values() if isinstance(one, Program)),
        **opened.more(run),
    }


def _hand_in(run: Run, opened: Contestant, starts: Iterator[int], jobs: int) -> None:
    """One of several callers: takes the next of the places, which they share."""
    try:
        with httpx.Client(base_url=opened.url, timeout=20) as client:
            for at in starts:
                until(partial(_is_allowed, run, at), "the next stage", 300, 0.002)
                for id, where in _accepted(run, opened, client, range(at, min(at + opened.call, jobs))):
                    run.accepted[id] = where
    except BaseException as err:  # noqa: BLE001  # the main thread raises it
        run.failures.append(err)


def _accepted(run: Run, opened: Contestant, client: httpx.Client, places: range) -> Iterator[tuple[str, range]]:
    """Sent until it is accepted."""
    while not run.is_over.is_set():
        with suppress(httpx.HTTPError):
            answer = opened.post(client, places)
            if answer.status_code in (200, 202):
                at = places.start
                for id, count in opened.accepted(answer.json(), len(places)):
                    yield id, range(at, at + count)
                    at += count
                return
        run.calls_again += 1
        time.sleep(0.1)


def _keep_up(run: Run, opened: Contestant) -> None:
    try:
        while not run.is_over.wait(0.5):
            _ask(run, opened)
            for part in opened.parts.values():
                if isinstance(part, Program):
                    part.keep_up()
    except BaseException as err:  # noqa: BLE001  # the main thread raises it
        run.failures.append(err)


def _is_allowed(run: Run, place: int) -> bool:
    return run.allowed > place or run.is_over.is_set()


def _is_handed(run: Run, place: int) -> bool:
    return _jobs(list(run.accepted.values())) >= place or bool(run.failures)


def _is_beyond(opened: Contestant, count: int) -> bool:
    return _count(opened) > count


def _count(opened: Contestant) -> int:
    """-1 while it cannot be counted."""
    with suppress(JobsError):
        return opened.done()
    return -1


def _all_ended(run: Run, patience_s: float) -> float:
    """When the last result came; returns when all are there, or after the time and ten seconds without another."""
    began = last = time.monotonic()
    known = len(run.ended)
    while len(run.ended) < len(run.accepted) and time.monotonic() < max(began + patience_s, last + MORE_S):
        time.sleep(0.2)
        if len(run.ended) > known:
            last, known = time.monotonic(), len(run.ended)
    return last


def _ask(run: Run, opened: Contestant) -> None:
    """For the results that were not seen yet."""
    with suppress(httpx.HTTPError, JobsError):
        run.ended |= opened.ended([id for id in list(run.accepted) if id not in run.ended])


def _jobs(places: Iterable[range]) -> int:
    return sum(len(some) for some in places)
