"""Ray Serve: a FastAPI application that keeps what a deployment's handle gives for each job, and one replica."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import ray
from bodies import Accepted, Ids, Many, One
from fastapi import FastAPI
from model import BATCH, IN_CHUNKS, Row, chunks, scores
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=4 * BATCH)
class Digits:
    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.005)
    async def batched(self, rows: list[Row]) -> list[list[float]]:
        return scores(rows)

    async def one(self, row: Row) -> list[float]:
        answer: Any = await self.batched(row)
        return answer

    async def chunk(self, rows: list[Row]) -> list[list[float]]:
        return scores(rows)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.results = {}
    app.state.waiting = set()
    app.state.handle = await asyncio.to_thread(serving)
    yield


def serving() -> Any:
    # Two logical CPUs allow the actors to be placed, whatever the machine has.
    options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False, "object_store_memory": 200_000_000}
    ray.init(_temp_dir=os.environ["JOBS_FOLDER"], **options)
    serve.start(http_options={"location": "NoServer"})
    return serve.run(Digits.options(logging_config={"enable_access_log": False}).bind(), route_prefix=None)


app = FastAPI(lifespan=lifespan)


async def kept(id: str, response: Any, jobs: int) -> None:
    app.state.results[id] = await response
    app.state.done = getattr(app.state, "done", 0) + jobs


def handed(response: Any, jobs: int) -> tuple[str, int]:
    id = uuid4().hex
    task = asyncio.create_task(kept(id, response, jobs))
    app.state.waiting.add(task)
    task.add_done_callback(app.state.waiting.discard)
    return id, jobs


@app.post("/job", status_code=202)
async def hand_in(body: One) -> Accepted:
    handle = app.state.handle
    response = handle.chunk.remote([body.pixels]) if IN_CHUNKS else handle.one.remote(body.pixels)
    return Accepted(accepted=[handed(response, 1)])


@app.post("/jobs", status_code=202)
async def hand_in_many(body: Many) -> Accepted:
    handle = app.state.handle
    if IN_CHUNKS:
        return Accepted(accepted=[handed(handle.chunk.remote(rows), len(rows)) for rows in chunks(body.jobs)])
    return Accepted(accepted=[handed(handle.one.remote(row), 1) for row in body.jobs])


@app.post("/ended")
async def ended(body: Ids) -> list[str]:
    return [id for id in body.ids if id in app.state.results]


@app.get("/done")
async def done() -> int:
    return getattr(app.state, "done", 0)
