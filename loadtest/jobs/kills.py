"""Who is killed: a peer's worker, Redis and API, and ours."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ai102.client import Client, InferenceError
from ai102.jobs.job import State
from ai102.jobs.ledger.ledger import Ledger
from loadtest.jobs.contestants import Program, Running, running, until
from loadtest.jobs.faults import Contestant, Part, Run, place_of, play, row
from loadtest.jobs.stack import Engine
from loadtest.jobs.works import MODEL
from tests.jobs import chaos

JOBS = 6000


def of_peer(key: str, jobs: int = JOBS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="jobs-kills-") as name, running(key, Path(name)) as peer:
        if isinstance(peer.worker, Program):
            peer.worker.start()
        parts: dict[str, Part] = {"worker": peer.worker}
        if peer.redis:
            parts["redis"] = peer.redis
        parts["api"] = peer.api

        def post(client: httpx.Client, places: range) -> httpx.Response:
            return client.post(peer.peer.many_path, json=peer.peer.many([row(place) for place in places]))

        opened = Contestant(
            parts, f"http://{peer.address}", peer.peer.call, post, peer.peer.accepted, peer.computed, peer.ended,
            lambda run: _more(peer, run), peer.peer.patience_s,
        )  # fmt: skip
        return play(opened, jobs)


def _more(peer: Running, run: Run) -> dict[str, int]:
    found = np.fromfile(peer.computed_file, np.uint8).reshape(-1, 4)
    counted = Counter(place_of(first) for first in found)
    figures = {
        "computed_again": sum(counted.values()) - len(counted),
        "without_result_computed": sum(place in counted for places in run.without_result for place in places),
    }
    if peer.redis and peer.peer.distributions[0] == "celery":
        # Held for a worker that was killed; they come again when the visibility timeout is over.
        figures["held_in_redis"] = int(peer.redis.asked("HLEN", "unacked") or 0)
    return figures


def of_ours(engine: Engine, jobs: int = JOBS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="jobs-kills-") as name:
        Path(name).chmod(0o755)
        with chaos.stack(engine, Path(name)) as made, _ledger(made) as ledger:
            before = _inferences(made.triton_url)

            def ended(ids: Sequence[str]) -> set[str]:
                have: set[str] = set()
                for at in range(0, len(ids), 500):
                    answers = ledger.with_answers("", list(ids[at : at + 500]))
                    have |= {job.id for job, answer in answers if answer is not None}
                return have

            opened = Contestant(
                {part: made.parts[part] for part in ("worker", "redis", "api") if part in made.parts}, made.api, 100,
                _post, lambda answer, jobs: [(one["id"], 1) for one in answer["jobs"]],
                lambda: ledger.count_by_state()[State.SUCCEEDED], ended,
                lambda run: {"computed_again": _inferences(made.triton_url) - before - len(run.ended)}, 30.0,
            )  # fmt: skip
            return play(opened, jobs)


def _post(client: httpx.Client, places: range) -> httpx.Response:
    tensors = [{"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": row(place)} for place in places]
    body = {"jobs": [{"model": MODEL, "inputs": [tensor]} for tensor in tensors]}
    return client.post("/v1/jobs", json=body, headers={"idempotency-key": f"call-{places.start}"})


def _inferences(url: str) -> int:
    with Client(url, shared_memory=False) as client:
        return sum(int(version.get("inference_count", 0)) for version in client.statistics(MODEL))


@contextmanager
def _ledger(made: chaos.Stack) -> Iterator[Ledger]:
    until(lambda: _answer(made), "Triton and the API answer", 60)
    ledger = Ledger(made.ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


def _answer(made: chaos.Stack) -> bool:
    with suppress(InferenceError, httpx.HTTPError), Client(made.triton_url, shared_memory=False, timeout_s=2) as client:
        client.version()
        return httpx.get(f"{made.api}/healthz", timeout=2).status_code == 200
    return False
