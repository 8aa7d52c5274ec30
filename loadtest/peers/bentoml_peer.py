"""BentoML: `batched` uses adaptive batching with its documented types; `plain` takes raw bytes without batching."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.validators import ContentType
from numpy.typing import NDArray
from pipeline import Pipeline
from starlette.responses import Response

BATCHED = {"batchable": True, "max_batch_size": 32, "max_latency_ms": 10_000}
SERVICE: dict[str, Any] = {"workers": 1, "traffic": {"timeout": 60}, "logging": {"access": {"enabled": False}}}
WORK = Path(os.environ["BENCH_WORK"])


@bentoml.service(**SERVICE)
class Plain:
    def __init__(self) -> None:
        self.pipeline = Pipeline(WORK)

    @bentoml.api(route="/answer")
    async def answer(self, body: Annotated[bytes, ContentType("application/octet-stream")], /) -> Any:
        return Response(self.pipeline.answers([body])[0], media_type=self.pipeline.media_type)


@bentoml.service(**SERVICE)
class BatchedImage:
    def __init__(self) -> None:
        self.pipeline = Pipeline(WORK)

    @bentoml.api(route="/answer", **BATCHED)
    def answer(self, images: list[Path]) -> list[dict[str, Any]]:
        return self.pipeline.values([image.read_bytes() for image in images])


@bentoml.service(**SERVICE)
class BatchedText:
    def __init__(self) -> None:
        self.pipeline = Pipeline(WORK)

    @bentoml.api(route="/answer", **BATCHED)
    def answer(self, texts: list[str]) -> np.ndarray:
        return np.stack(self.pipeline.values([text.encode() for text in texts]))


@bentoml.service(**SERVICE)
class BatchedTensor:
    def __init__(self) -> None:
        self.pipeline = Pipeline(WORK)

    @bentoml.api(route="/answer", **BATCHED)
    def answer(self, tensors: np.ndarray) -> np.ndarray:
        work = self.pipeline.work
        rows: NDArray[Any] = tensors.astype(work["dtype"])
        return self.pipeline.run({work["input"]: rows})


if __name__ == "__main__":
    import json

    kind = json.loads(WORK.read_text(encoding="utf-8"))["kind"]
    service = "Plain" if os.environ["BENCH_VARIANT"] == "plain" else f"Batched{kind.capitalize()}"
    command = [sys.executable, "-m", "bentoml", "serve", f"bentoml_peer:{service}", "--host", "127.0.0.1"]
    command += ["--port", os.environ["BENCH_PORT"], "--working-dir", str(Path(__file__).parent)]
    os.execv(sys.executable, command)
