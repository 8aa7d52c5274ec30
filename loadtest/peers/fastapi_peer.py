"""FastAPI on uvicorn, raw bytes in and out: `inline` runs the session in the event loop, `threadpool` in threads."""

from __future__ import annotations

import os
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from pipeline import Pipeline
from starlette.concurrency import run_in_threadpool


def app_of(pipeline: Pipeline, variant: str) -> FastAPI:
    app = FastAPI()

    async def inline(request: Request) -> Response:
        body = await request.body()
        return Response(pipeline.answers([body])[0], media_type=pipeline.media_type)

    async def threadpool(request: Request) -> Response:
        body = await request.body()
        answers = await run_in_threadpool(pipeline.answers, [body])
        return Response(answers[0], media_type=pipeline.media_type)

    # A plain route: FastAPI then does not parse parameters.
    app.add_route("/answer", {"inline": inline, "threadpool": threadpool}[variant], methods=["POST"])
    return app


if __name__ == "__main__":
    pipeline = Pipeline(Path(os.environ["BENCH_WORK"]))
    uvicorn.run(
        app_of(pipeline, os.environ["BENCH_VARIANT"]),
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        log_level="warning",
        access_log=False,
    )
