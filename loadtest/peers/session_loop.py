"""The limit: the session in a loop, no server. Each line of stdin asks for one round, one line of stdout tells it.

For a tensor only `InferenceSession.run` is timed; for an image or a text its steps before and after are part of
the work.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import Pipeline


def calls_of(pipeline: Pipeline, batch: int) -> list[Callable[[], object]]:
    """One call for each batch of samples, all they need made beforehand."""
    samples = pipeline.samples()
    # One group follows the other, so that a short round too sends every sample about as often as the others.
    groups = [
        [samples[(turn * batch + place) % len(samples)] for place in range(batch)] for turn in range(len(samples))
    ]
    if pipeline.kind != "tensor":
        return [lambda group=group: pipeline.answers(group) for group in groups]  # type: ignore[misc]
    run, outputs = pipeline.session.run, [pipeline.work["output"]]
    ready = [pipeline.feeds(group) for group in groups]
    return [lambda feeds=feeds: run(outputs, feeds) for feeds in ready]  # type: ignore[misc]


def timed(calls: list[Callable[[], object]], batch: int, seconds: float) -> dict[str, Any]:
    latencies: list[float] = []
    clock = time.perf_counter
    began = now = clock()
    while now - began < seconds:
        before = now
        calls[len(latencies) % len(calls)]()
        now = clock()
        latencies.append(now - before)
    return {"count": len(latencies) * batch, "elapsed_s": now - began, "latencies_s": latencies}


def main() -> None:
    pipeline = Pipeline(Path(os.environ["BENCH_WORK"]))
    made: dict[int, list[Callable[[], object]]] = {}
    pipeline.answers(pipeline.samples()[:1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        batch = asked["batch"]
        made.setdefault(batch, calls_of(pipeline, batch))
        made[batch][0]()
        sys.stdout.write(json.dumps(timed(made[batch], batch, asked["seconds"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
