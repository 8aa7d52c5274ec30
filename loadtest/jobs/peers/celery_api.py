"""A FastAPI application that hands tasks to Celery, in threads, since Celery's calls block."""

import celery_tasks
from bodies import Accepted, Ids, Many, One
from celery import group
from celery_tasks import infer, infer_chunk
from fastapi import FastAPI
from model import IN_CHUNKS, chunks

app = FastAPI()


@app.post("/job", status_code=202)
def hand_in(body: One) -> Accepted:
    task = infer_chunk.delay([body.pixels]) if IN_CHUNKS else infer.delay(body.pixels)
    return Accepted(accepted=[(task.id, 1)])


@app.post("/jobs", status_code=202)
def hand_in_many(body: Many) -> Accepted:
    if IN_CHUNKS:
        return Accepted(accepted=[(infer_chunk.delay(rows).id, len(rows)) for rows in chunks(body.jobs)])
    return Accepted(accepted=[(task.id, 1) for task in group(infer.s(row) for row in body.jobs).apply_async()])


@app.post("/ended")
def ended(body: Ids) -> list[str]:
    return celery_tasks.ended(body.ids)
