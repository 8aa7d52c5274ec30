"""arq: a job of arq for each job, which it computes one by one, or one for up to 64."""

from typing import Any

from arq.connections import RedisSettings
from model import AGAIN_S, IS_SAFE, REDIS, Row, scores

SETTINGS = RedisSettings.from_dsn(REDIS)
SETTINGS.conn_retries = 30


async def infer(context: dict[str, Any], rows: list[Row]) -> list[list[float]]:
    return scores(rows)


class WorkerSettings:
    functions = (infer,)
    redis_settings = SETTINGS
    max_jobs = 64
    # What a killed worker held comes again ten seconds after this; as it comes, after 310 s.
    job_timeout = AGAIN_S if IS_SAFE else 300
