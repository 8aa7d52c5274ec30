"""Jobs handed in through the gateway while a test does something to the stack, and what became of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tests.containers.conftest import wait_until

MODEL = "embed_text"
TEXTS = tuple(f"{who} {what}." for who in ("A man", "The cat", "Nobody", "My car") for what in (
    "eats bread", "is on fire", "knows the law", "plays chess", "sails home",
))  # fmt: skip
CALL = 5
PAUSE_S = 0.2
AGAIN_S = 0.1
# What a gateway or an API answers while something behind it is away.
AGAIN = (429, 502, 503, 504)


@dataclass
class HandedIn:
    """`accepted`: by the place of the job among all, its id; `refused`: how calls ended that were sent again."""

    accepted: dict[int, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    error: str = ""


@contextmanager
def handing_in(client: httpx.Client) -> Iterator[HandedIn]:
    """Calls of CALL jobs, each with a key and sent until it is accepted, while the block runs."""
    report, is_over = HandedIn(), threading.Event()

    def run() -> None:
        place = 0
        while not is_over.wait(PAUSE_S):
            body = {"jobs": [{"model": MODEL, "text": TEXTS[(place + one) % len(TEXTS)]} for one in range(CALL)]}
            rows = _accepted(client, body, f"test-{place}", report)
            for row in rows:
                report.accepted[place] = row["id"]
                place += 1
            if not rows:
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield report
    finally:
        is_over.set()
        thread.join()
    assert not report.error, report.error


def _accepted(client: httpx.Client, body: dict[str, Any], key: str, report: HandedIn) -> list[dict[str, Any]]:
    """Also when the block is over: what was begun is handed in. None when the call was refused for good."""
    for _ in range(1000):
        try:
            answer = client.post("/v1/jobs", json=body, headers={"idempotency-key": key})
        except httpx.TransportError as err:
            report.refused[type(err).__name__] += 1
        else:
            if answer.status_code == 202:
                return list(answer.json()["jobs"])
            report.refused[str(answer.status_code)] += 1
            if answer.status_code not in AGAIN:
                report.error = f"{answer.status_code}: {answer.text}"
                return []
        threading.Event().wait(AGAIN_S)
    report.error = "one call was refused a thousand times"
    return []


def is_brought(client: httpx.Client, metrics: str) -> bool:
    """Whether one more job is done, and the queue brought it: the worker at `metrics` did not look for it itself."""
    try:
        before = taken_up(metrics)
        answer = client.post("/v1/jobs", json={"model": MODEL, "text": TEXTS[0]})
        if answer.status_code != 202:
            return False
        job = client.get(f"/v1/jobs/{answer.json()['id']}", params={"wait": "20s"}, timeout=30).json()
        return bool(job["state"] == "succeeded" and taken_up(metrics) == before)
    except httpx.TransportError:
        return False


def taken_up(metrics: str) -> float:
    """How many jobs the worker found in the ledger because the queue did not bring them."""
    lines = httpx.get(metrics, timeout=5).raise_for_status().text.splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("ai102_jobs_taken_up_total ")]
    return float(value)


def check(client: httpx.Client, report: HandedIn, within_s: float) -> None:
    """Every accepted job has ended well, with the answer to its own text."""
    ids = [report.accepted[place] for place in sorted(report.accepted)]
    assert len(set(ids)) == len(ids), "two calls were given the same job"
    rows: dict[str, dict[str, Any]] = {}

    def all_have_ended() -> bool:
        missing = [id for id in ids if id not in rows][:500]
        ended = client.post("/v1/jobs/ended", json={"ids": missing}, params={"wait": "1s"}).json()["jobs"]
        rows.update({row["id"]: row for row in ended})
        return len(rows) == len(ids)

    wait_until(all_have_ended, f"{len(ids)} jobs have ended", within_s)
    assert Counter(row["state"] for row in rows.values()) == {"succeeded": len(ids)}
    right = np.stack([_directly(client, text) for text in TEXTS])
    answers = np.array([_embedding(rows[id]["outputs"]) for id in ids])
    wrong = [place for place, text in zip(report.accepted, (answers @ right.T).argmax(1), strict=True)
             if place % len(TEXTS) != text]  # fmt: skip
    assert wrong == [], "these have the answer of another"


def _directly(client: httpx.Client, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    answer = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]}).raise_for_status()
    return _embedding(answer.json()["outputs"])


def _embedding(outputs: Sequence[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    (data,) = [row["data"] for row in outputs if row["name"] == "sentence_embedding"]
    return np.array(data, np.float32)
