"""The least that can accept a job: a FastAPI route that does one XADD; `/job` reads no JSON, `/checked` does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bodies import One
from fastapi import FastAPI, Request
from model import REDIS
from redis.asyncio import Redis


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.redis = Redis.from_url(REDIS)
    yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/job", status_code=202)
async def hand_in(request: Request) -> dict[str, str]:
    id = await app.state.redis.xadd("jobs", {"job": await request.body()})
    return {"id": id.decode()}


@app.post("/checked", status_code=202)
async def hand_in_checked(body: One) -> dict[str, str]:
    id = await app.state.redis.xadd("jobs", {"job": bytes(body.pixels)})
    return {"id": id.decode()}
