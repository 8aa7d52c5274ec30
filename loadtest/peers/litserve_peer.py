"""LitServe, raw bytes in and out: `batched` with dynamic batching, `plain` without."""

import os
from pathlib import Path
from typing import Annotated, Any

import litserve
from fastapi import Body, Response
from pipeline import Pipeline


class Api(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.pipeline = Pipeline(Path(os.environ["BENCH_WORK"]))

    # LitServe passes this annotation to FastAPI, which then passes a body that is not JSON unchanged.
    def decode_request(self, request: Annotated[bytes, Body()]) -> bytes:
        return request

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, x: Any) -> Any:
        return self.pipeline.answers(x) if isinstance(x, list) else self.pipeline.answers([x])[0]

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type=self.pipeline.media_type)


if __name__ == "__main__":
    options = {"max_batch_size": 32, "batch_timeout": 0.005} if os.environ["BENCH_VARIANT"] == "batched" else {}
    server = litserve.LitServer(Api(api_path="/answer", **options), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
