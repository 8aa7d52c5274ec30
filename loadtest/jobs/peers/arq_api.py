"""A FastAPI application that hands jobs to arq."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from arq import create_pool
from arq.constants import result_key_prefix
from arq_tasks import SETTINGS
from bodies import Accepted, Ids, Many, One
from fastapi import FastAPI
from model import IN_CHUNKS, Row, chunks


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await create_pool(SETTINGS)
    yield
    await app.state.pool.aclose()


app = FastAPI(lifespan=lifespan)


async def enqueued(rows: list[Row]) -> tuple[str, int]:
    id = uuid4().hex
    await app.state.pool.enqueue_job("infer", rows, _job_id=id)
    return id, len(rows)


@app.post("/job", status_code=202)
async def hand_in(body: One) -> Accepted:
    return Accepted(accepted=[await enqueued([body.pixels])])


@app.post("/jobs", status_code=202)
async def hand_in_many(body: Many) -> Accepted:
    parts = chunks(body.jobs) if IN_CHUNKS else [[row] for row in body.jobs]
    return Accepted(accepted=await asyncio.gather(*(enqueued(list(rows)) for rows in parts)))


@app.post("/ended")
async def ended(body: Ids) -> list[str]:
    found = await app.state.pool.mget([result_key_prefix + id for id in body.ids])
    return [id for id, one in zip(body.ids, found, strict=True) if one]
