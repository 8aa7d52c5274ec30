"""Ray Serve, one replica, raw bytes in and out: `batched` with @serve.batch, `plain` without."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import ray
from pipeline import Pipeline
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(num_replicas=1, max_ongoing_requests=128)
class Plain:
    def __init__(self, work: str) -> None:
        self.pipeline = Pipeline(Path(work))

    async def __call__(self, request: Request) -> Response:
        answer = self.pipeline.answers([await request.body()])[0]
        return Response(answer, media_type=self.pipeline.media_type)


@serve.deployment(num_replicas=1, max_ongoing_requests=128)
class Batched:
    def __init__(self, work: str) -> None:
        self.pipeline = Pipeline(Path(work))

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def answers(self, bodies: list[bytes]) -> list[bytes]:
        return self.pipeline.answers(bodies)

    async def __call__(self, request: Request) -> Response:
        answer: Any = await self.answers(await request.body())
        return Response(answer, media_type=self.pipeline.media_type)


if __name__ == "__main__":
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    # Two logical CPUs allow the actors to be placed; the inherited affinity decides where they run.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=os.environ["BENCH_FOLDER"])
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])}, logging_config=None)
    deployment = Batched if os.environ["BENCH_VARIANT"] == "batched" else Plain
    serve.run(
        deployment.options(logging_config={"enable_access_log": False}).bind(os.environ["BENCH_WORK"]),
        route_prefix="/answer",
    )
    ended.wait()
    serve.shutdown()
    ray.shutdown()
