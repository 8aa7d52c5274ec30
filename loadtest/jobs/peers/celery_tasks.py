"""Celery with Redis as broker and result backend: a task for each job by celery-batches, or one for up to 64."""

from typing import Any

import celery
from celery_batches import Batches, SimpleRequest
from model import AGAIN_S, BATCH, IS_SAFE, REDIS, Row, scores

app = celery.Celery("jobs", broker=REDIS, backend=REDIS)
# celery-batches needs as many tasks at hand as a batch has.
app.conf.update(worker_prefetch_multiplier=2 * BATCH, broker_connection_retry_on_startup=True)
if IS_SAFE:
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_transport_options={"visibility_timeout": AGAIN_S},
        result_backend_always_retry=True,
        worker_cancel_long_running_tasks_on_connection_loss=True,
    )


@app.task(base=Batches, flush_every=BATCH, flush_interval=0.1)
def infer(requests: list[SimpleRequest]) -> None:
    answers = scores([request.args[0] for request in requests])
    for request, answer in zip(requests, answers, strict=True):
        app.backend.mark_as_done(request.id, answer, request=request)


@app.task
def infer_chunk(rows: list[Row]) -> list[list[float]]:
    return scores(rows)


def ended(ids: list[str]) -> list[str]:
    """Those that have a result."""
    found: list[Any] = app.backend.mget([app.backend.get_key_for_task(id) for id in ids])
    metas = [app.backend.decode_result(one) if one else {} for one in found]
    return [id for id, meta in zip(ids, metas, strict=True) if meta.get("status") == "SUCCESS"]
