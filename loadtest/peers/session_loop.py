"""The session in a loop, without a server: an upper limit. A line on stdin starts a round, a line on stdout reports it.

The engine is the one that Triton computes by. For a tensor only the run of its session is timed; for an image or a text
pre- and postprocessing are timed too.
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
    """One call for each batch of samples, with inputs prepared beforehand."""
    samples = pipeline.samples()
    # Consecutive groups, so that a short round too sends all samples about equally often.
    groups = [
        [samples[(turn * batch + place) % len(samples)] for place in range(batch)] for turn in range(len(samples))
    ]
    if pipeline.kind != "tensor":
        return [lambda group=group: pipeline.answers(group) for group in groups]  # type: ignore[misc]
    run, outputs = pipeline.session.run, [pipeline.work["output"]]
    feeds_of_groups = [pipeline.feeds(group) for group in groups]
    return [lambda feeds=feeds: run(outputs, feeds) for feeds in feeds_of_groups]  # type: ignore[misc]


def timed(calls: list[Callable[[], object]], batch: int, seconds: float) -> dict[str, Any]:
    latencies: list[float] = []
    clock = time.perf_counter
    start = now = clock()
    while now - start < seconds:
        before = now
        calls[len(latencies) % len(calls)]()
        now = clock()
        latencies.append(now - before)
    return {"count": len(latencies) * batch, "elapsed_s": now - start, "latencies_s": latencies}


def main() -> None:
    pipeline = Pipeline(Path(os.environ["BENCH_WORK"]))
    calls_of_batch: dict[int, list[Callable[[], object]]] = {}
    pipeline.answers(pipeline.samples()[:1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        batch = request["batch"]
        calls_of_batch.setdefault(batch, calls_of(pipeline, batch))
        calls_of_batch[batch][0]()
        sys.stdout.write(json.dumps(timed(calls_of_batch[batch], batch, request["seconds"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
