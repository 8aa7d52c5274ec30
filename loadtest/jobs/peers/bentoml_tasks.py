"""BentoML's tasks, which keep their state and results in an SQLite file of the server; batched by its own batching."""

from typing import Any

import bentoml
from model import BATCH, Row, scores

SERVICE: dict[str, Any] = {"workers": 1, "traffic": {"timeout": 60}, "logging": {"access": {"enabled": False}}}


@bentoml.service(**SERVICE)
class Digits:
    @bentoml.task(batchable=True, max_batch_size=BATCH, max_latency_ms=60_000)
    def infer(self, rows: list[Row]) -> list[list[float]]:
        return scores(rows)
