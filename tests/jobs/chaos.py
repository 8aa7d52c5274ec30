"""Every part is killed while jobs are handed in and done; then each accepted job must have exactly one right result.

`python -m tests.jobs.chaos --jobs 50000`, or `make jobs-chaos`. Needs what the engine needs: Debian's PostgreSQL and
Redis and the part `dapr` for the engine dapr, nothing more for the embedded one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import httpx
import numpy as np
import typer

from ai102.client import Client, InferenceError
from ai102.jobs.item import arrays_from_item
from ai102.jobs.job import JobsError, State
from ai102.jobs.ledger.ledger import Ledger
from tests.gateway.conftest import wait_until
from tests.jobs.databases import PostgreSQL, postgresql
from tests.jobs.sidecars import Redis, Sidecar, redis
from tests.ports import free_port
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent
MODEL = "digits_int8"
CALL = 100
READY_S = 60.0
# A worker that was killed loses its jobs after this time.
LEASE_S = 5.0


class Part(Protocol):
    """Something that is killed and started again."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


class Command:
    """A command of `ai102` at a fixed address."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments = arguments
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ai102", *self._arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)


class Triton:
    """A tritonserver at fixed ports."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._ports = (free_port(), free_port())
        self.url = f"grpc://127.0.0.1:{self._ports[1]}"
        self._server: Server | None = None

    def start(self) -> None:
        http_port, grpc_port = self._ports
        self._server = Server(
            ROOT / "model_repository", http_port=http_port, grpc_port=grpc_port, metrics_port=0, models=[MODEL],
            log=self._log,
        )  # fmt: skip
        self._server.start()

    def kill(self) -> None:
        assert self._server is not None
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.stop()


class Database:
    """PostgreSQL, whose first process is killed."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()


class Emptied:
    """The broker, which forgets everything."""

    def __init__(self, server: Redis) -> None:
        self._server = server

    def kill(self) -> None:
        self._server.asked("FLUSHALL")

    def start(self) -> None: ...


@dataclass
class Stack:
    parts: dict[str, Part]
    api: str
    ledger_url: str
    triton_url: str


@dataclass
class Run:
    """What was accepted, by the place of the job among all; and what was done to the parts."""

    accepted: dict[int, str] = field(default_factory=dict)
    calls_again: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    is_over: threading.Event = field(default_factory=threading.Event)


def pixels(place: int) -> list[int]:
    """Different for jobs whose answers differ."""
    return [(place * 7 + at * (1 + place % 5)) % 17 for at in range(64)]


def right_answers(url: str) -> list[bytes]:
    """By place modulo 85, after which pixels repeat."""
    rows = np.array([pixels(place) for place in range(85)], np.uint8).reshape(85, 1, 8, 8)
    with Client(url, shared_memory=False) as client:
        (scores,) = client.infer(MODEL, {"pixels": rows}).values()
    return [row.tobytes() for row in scores]


@contextmanager
def stack(engine: str, folder: Path) -> Iterator[Stack]:
    with ExitStack() as opened:
        triton = Triton(folder / "tritonserver.log")
        api_port = free_port()
        options = ["--jobs", str(folder / "jobs")]
        to_api, to_worker = list(options), list(options)
        parts: dict[str, Part] = {"triton": triton}
        ledger_url = f"sqlite:///{folder}/jobs/ledger.db"
        if engine == "dapr":
            database = opened.enter_context(postgresql())
            broker = opened.enter_context(redis(folder))
            of_api = Sidecar(folder, broker.port)
            of_worker = Sidecar(folder, broker.port, f"127.0.0.1:{free_port()}")
            ledger_url = database.url
            to_api += ["--ledger", ledger_url, "--dapr", of_api.url]
            to_worker += ["--ledger", ledger_url, "--dapr", of_worker.url, "--app", of_worker.app]
            parts |= {"daprd of the API": of_api, "daprd of the worker": of_worker, "redis": broker}
            parts |= {"postgresql": Database(database), "redis, emptied": Emptied(broker)}
        api = ["api", "serve", "--listen", f"127.0.0.1:{api_port}", "--url", triton.url, *to_api]
        work = ["jobs", "work", "--url", triton.url, "--lease-s", str(LEASE_S), *to_worker]
        parts |= {"api": Command(api, folder / "api.log"), "worker": Command(work, folder / "worker.log")}
        started = [part for name, part in parts.items() if name not in ("redis", "postgresql", "redis, emptied")]
        for part in started:
            part.start()
            opened.callback(_killed, part)
        yield Stack(parts, f"http://127.0.0.1:{api_port}", ledger_url, triton.url)


def _killed(part: Part) -> None:
    part.kill()


def hand_in(run: Run, url: str, count: int, seconds: float) -> None:
    """Calls of CALL jobs, each with a key and sent until it is answered, over so much time if nothing fails."""
    with httpx.Client(timeout=20) as client:
        for at in range(0, count, CALL):
            time.sleep(seconds * CALL / count)
            body = {"jobs": [_job(place) for place in range(at, min(at + CALL, count))]}
            while not run.is_over.is_set():
                try:
                    answer = client.post(f"{url}/v1/jobs", json=body, headers={"idempotency-key": f"call-{at}"})
                except httpx.HTTPError:
                    answer = None
                if answer is not None and answer.status_code == 202:
                    break
                assert answer is None or answer.status_code in (429, 503), answer.text
                run.calls_again += 1
                time.sleep(0.1)
            else:
                return
            for place, row in enumerate(answer.json()["jobs"]):
                run.accepted[at + place] = row["id"]


def _job(place: int) -> dict[str, Any]:
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": pixels(place)}
    return {"model": MODEL, "inputs": [tensor]}


def kill_parts(run: Run, stack: Stack, kills: int, pause_s: float, chance: random.Random) -> None:
    """In turn first, then at random."""
    names = list(stack.parts)
    order = (names + [chance.choice(names) for _ in range(max(0, kills - len(names)))])[:kills]
    for name in order:
        if run.is_over.wait(pause_s * chance.uniform(0.5, 1.5)):
            return
        stack.parts[name].kill()
        run.kills[name] += 1
        time.sleep(chance.uniform(0.0, 1.0))
        stack.parts[name].start()


def check(run: Run, ledger: Ledger, answers: Sequence[bytes], count: int) -> None:
    """Exactly one right result for each accepted job, and no job beside those."""
    assert sorted(run.accepted) == list(range(count))
    assert len(set(run.accepted.values())) == count, "two calls were given the same job"
    wrong = 0
    places = {id: place for place, id in run.accepted.items()}
    ids = list(places)
    for at in range(0, count, 500):
        for job, answer in ledger.with_answers("", ids[at : at + 500]):
            assert answer is not None, job
            (scores,) = arrays_from_item(answer).values()
            wrong += not np.allclose(scores, np.frombuffer(answers[places[job.id] % 85], scores.dtype), atol=1e-5)
    states = ledger.count_by_state()
    assert states == {state: count if state is State.SUCCEEDED else 0 for state in State}, states
    assert wrong == 0, f"{wrong} jobs have the answer of another"


def play(engine: str, count: int, kills: int, pause_s: float, seed: int, folder: Path) -> dict[str, Any]:
    """Raises AssertionError when a job was lost, done twice or answered wrongly."""
    chance = random.Random(seed)
    run = Run()
    with stack(engine, folder) as made:
        wait_until(lambda: _answers(made.triton_url), "Triton answers", READY_S)
        answers = right_answers(made.triton_url)
        wait_until(lambda: _is_up(made.api), "the API answers", READY_S)
        ledger = Ledger(made.ledger_url)
        began = time.monotonic()
        handing = threading.Thread(target=hand_in, args=(run, made.api, count, kills * pause_s))
        killing = threading.Thread(target=kill_parts, args=(run, made, kills, pause_s, chance))
        handing.start()
        killing.start()
        try:
            killing.join(kills * (1.5 * pause_s + 60))
            handing.join(count / 100 + kills * pause_s + 120)
            assert not handing.is_alive(), "not all jobs could be handed in"
            wait_until(lambda: _is_done(ledger, count), "all jobs are done", count / 100 + 180)
        finally:
            run.is_over.set()
            handing.join()
            killing.join()
        took = time.monotonic() - began
        check(run, ledger, answers, count)
        ledger.close()
    return {
        "engine": engine, "jobs": count, "seconds": round(took), "kills": dict(run.kills),
        "calls_again": run.calls_again, "lost": 0, "doubled": 0, "seed": seed,
    }  # fmt: skip


def _answers(url: str) -> bool:
    try:
        with Client(url, shared_memory=False, timeout_s=2) as client:
            client.version()
    except InferenceError:
        return False
    return True


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _is_done(ledger: Ledger, count: int) -> bool:
    try:
        states = ledger.count_by_state()
    except JobsError:  # it is being started again
        return False
    return states[State.QUEUED] + states[State.RUNNING] == 0 and sum(states.values()) >= count


def main(
    engine: Annotated[str, typer.Option(help="embedded, dapr, or both.")] = "both",
    jobs: Annotated[int, typer.Option(help="How many.", min=1000)] = 50_000,
    kills: Annotated[int, typer.Option(help="How often a part is killed.", min=0)] = 16,
    pause_s: Annotated[float, typer.Option(help="Between two kills, on average.", min=0.1)] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the order and the moments.")] = 0,
) -> None:
    """Kill every part while jobs are handed in and done, and count what was lost."""
    for one in ("embedded", "dapr") if engine == "both" else (engine,):
        with tempfile.TemporaryDirectory(prefix="ai102-chaos-") as folder:
            Path(folder).chmod(0o755)
            typer.echo(json.dumps(play(one, jobs, kills, pause_s, seed, Path(folder))))


if __name__ == "__main__":
    typer.run(main)
