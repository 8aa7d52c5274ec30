"""A stand-in for Triton, speaking its gRPC, and the API before it, in one event loop."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import numpy as np
import uvicorn
from prometheus_client import CollectorRegistry
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from ai102 import contract
from ai102.api.app import Application, application
from ai102.api.limits import Limits
from ai102.api.serve import config_for
from ai102.client import AsyncClient, Retry
from ai102.client.tensors import raw_from_array
from ai102.contract.answers import Asked, asked_from_contract
from ai102.host.listen import tcp_listener
from ai102.tracing.spans import Span

ROOT = Path(__file__).parent.parent.parent
ASKED: Asked = asked_from_contract(contract.load(ROOT / "models.toml"))
LIMITS = Limits(max_files=3, max_file_bytes=1000, max_upload_bytes=2500, max_texts=3, max_text_chars=50,
                max_json_bytes=2000, part_timeout_s=10, upload_timeout_s=20, deadline_s=10, max_calls=2,
                max_waiting=1)  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n" + b"." * 40
JPEG = b"\xff\xd8\xff" + b"." * 40
SCORES = [0.01] * 7 + [0.9, 0.02, 0.01]
VECTOR = [0.5, -0.5, 0.25]


class StandIn(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Gives the same answer to every item; `refusal` or `hangs` make it do otherwise."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.hangs = False
        self.busy = 0  # calls under way
        self.vector = VECTOR

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        return pb.ModelConfigResponse(config={"name": request.name, "max_batch_size": 64})

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.busy += 1
        try:
            if self.hangs:
                await asyncio.Event().wait()
            if self.refusal:
                await context.abort(*self.refusal)
        finally:
            self.busy -= 1
        rows = request.inputs[0].shape[0]
        answer = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
        for output in request.outputs:
            raw = raw_from_array(output.name, self._values(output.name, rows))
            answer.outputs.add(name=raw.name, datatype=raw.datatype, shape=raw.shape)
            answer.raw_output_contents.append(bytes(raw.data))
        return answer

    def _values(self, name: str, rows: int) -> Any:
        known = {
            "label": np.array([[b"seven"]] * rows, dtype=np.object_),
            "score": np.full((rows, 1), 0.75, np.float32),
            "scores": np.array([SCORES] * rows, np.float32),
            "sentence_embedding": np.array([self.vector] * rows, np.float32),
            "truncated": np.zeros((rows, 1), np.bool_),
        }
        return known[name]


@dataclass
class Api:
    """What a test has in hand."""

    http: httpx.AsyncClient
    triton: StandIn
    application: Application
    log: list[str] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log]


@asynccontextmanager
async def api(
    limits: Limits = LIMITS,
    *,
    over_http: bool = False,
    add_span: Callable[[Span], None] | None = None,
    registry: CollectorRegistry | None = None,
    **changes: Any,
) -> AsyncIterator[Api]:
    """The application before a stand-in: called in process, or by uvicorn on a free port of 127.0.0.1."""
    limits = replace(limits, **changes)
    server, triton, lines = grpc.aio.server(), StandIn(), list[str]()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    retry = Retry(tries=1)
    try:
        async with AsyncClient(f"grpc://127.0.0.1:{port}", retry=retry, shared_memory=False) as client:
            made = application(ASKED, client, limits, lines.append, add_span, registry)
            if over_http:
                async with _listening(made, limits) as address:
                    base = f"http://{address[0]}:{address[1]}"
                    async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
                        yield Api(http, triton, made, lines, address)
            else:
                transport = httpx.ASGITransport(made.asgi, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                    yield Api(http, triton, made, lines)
    finally:
        await server.stop(None)


@asynccontextmanager
async def _listening(made: Application, limits: Limits) -> AsyncIterator[tuple[str, int]]:
    with tcp_listener("127.0.0.1:0", backlog=128, named="the test") as listener:
        server = uvicorn.Server(config_for(made.asgi, limits))
        serving = asyncio.ensure_future(server._serve([listener]))  # serve() would take the test's signals
        try:
            await until(lambda: server.started)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            await serving


async def until(holds: Callable[[], bool], within_s: float = 5.0) -> None:
    ends = asyncio.get_running_loop().time() + within_s
    while not holds():
        assert asyncio.get_running_loop().time() < ends, "it never came true"
        await asyncio.sleep(0.005)


def files(*data: bytes, name: str = "a.png") -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (name, item)) for item in data]
