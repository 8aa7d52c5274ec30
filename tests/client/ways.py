"""The four ways to ask a server, so that one test holds for all of them."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ai102.client import AsyncClient, Client, InferenceError
from ai102.serve.server import Server


class Awaited:
    """An AsyncClient in a loop of its own, each call awaited at once."""

    KIND: Any = AsyncClient

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = self.KIND(url, **options)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)

        async def ask(*args: Any, **options: Any) -> Any:
            return await call(*args, **options)

        return lambda *args, **options: self._runner.run(ask(*args, **options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *why: object) -> None:
        try:
            self._runner.run(self.client.close())
        finally:
            self._runner.close()


@dataclass(frozen=True)
class Way:
    """A protocol, by threads or by asyncio."""

    protocol: str
    is_async: bool

    def __str__(self) -> str:
        return f"{self.protocol}-{'asyncio' if self.is_async else 'threads'}"

    def address(self, server: Server) -> str:
        return server.http_url if self.protocol == "http" else server.grpc_url

    def connect(self, to: Server | str, **options: Any) -> Any:
        address = self.address(to) if isinstance(to, Server) else to
        return (Awaited if self.is_async else Client)(f"{self.protocol}://{address}", **options)

    def connect_securely(self, address: str, **options: Any) -> Any:
        return (Awaited if self.is_async else Client)(f"{self.protocol}s://{address}", **options)

    def warm_up(self) -> None:
        with self.connect("127.0.0.1:1", timeout_s=2.0) as client, contextlib.suppress(InferenceError):
            client.models()


HTTP_WAYS = [Way("http", is_async) for is_async in (False, True)]
GRPC_WAYS = [Way("grpc", is_async) for is_async in (False, True)]
WAYS = [*HTTP_WAYS, *GRPC_WAYS]

# Doubles x; tells the request's id, its parameters with the headers passed on, and how many rows came at once.
ECHO = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        told = json.dumps({"id": request.request_id(), "rows": len(x), **json.loads(request.parameters())}).encode()
        return pb_utils.InferenceResponse([
            pb_utils.Tensor("doubled", 2 * x),
            pb_utils.Tensor("told", np.array([[told]] * len(x), dtype=object)),
        ])
"""
ECHO_CONFIG = """
backend: "python"
max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: -1 }
output { name: "doubled" data_type: TYPE_FP32 dims: -1 }
output { name: "told" data_type: TYPE_STRING dims: 1 }
"""
# Waits x[0] seconds, then gives x[1] floats, each the sum of the others. Each run adds a byte to the file "begun".
SLOW = """
import time
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self._begun = Path(args["model_repository"], "begun")

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        with self._begun.open("ab") as begun:
            begun.write(b".")
        x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        time.sleep(float(x[0]))
        if x[1] < 0:
            raise pb_utils.TritonModelException("no such length")
        return pb_utils.InferenceResponse([pb_utils.Tensor("y", np.full(int(x[1]), x[2:].sum(), np.float32))])
"""
SLOW_CONFIG = """
backend: "python"
max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: -1 }
output { name: "y" data_type: TYPE_FP32 dims: -1 }
"""
ECHO_FILES = {"config.pbtxt": ECHO_CONFIG, "1/model.py": ECHO}
SLOW_FILES = {"config.pbtxt": SLOW_CONFIG, "1/model.py": SLOW}
EXPLICIT = ("--model-control-mode=explicit", "--load-model=*")
FORWARD = ("--http-header-forward-pattern=.*", "--grpc-header-forward-pattern=.*")
LARGE = 1 << 20  # floats: well above what shared memory is worth


def runs_begun(repository: Path) -> int:
    """How many requests the slow model has begun."""
    begun = repository / "slow" / "begun"
    return begun.stat().st_size if begun.exists() else 0


def asks_slow(seconds: float = 0.0, length: int = 3, floats: int = LARGE) -> Mapping[str, Any]:
    """What the slow model takes; its answer is full of floats - 2."""
    x = np.ones(floats, np.float32)
    x[:2] = seconds, length
    return {"x": x}
