"""The overhead of ai102.client over tritonclient, the gain of shared memory, and the cost of httpx.

`python -m loadtest.client_overhead`.

One request at a time, both variants alternately in one process; the server has core 0, the client core 1. Prints
ratios with their quartiles and writes build/client_overhead.json.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tritonclient.grpc
import tritonclient.http
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from ai102.client import Client, bytes_array
from ai102.client.calls import Infer
from ai102.client.exchange import Attempt
from ai102.client.http.messages import HttpRequest, http_answer, http_request
from ai102.client.http.senders import AsyncHttpSender, HttpSender
from ai102.client.tensors import raw_from_array
from ai102.host.cpu import cpu_name
from ai102.serve.server import Server

ROOT = Path(__file__).parent.parent
SERVER_CORE, CLIENT_CORE = 0, 1
CLASSIFIER = ("classify_image", "digits_decode", "digits_int8", "digits_label")
TRITONCLIENT = {"grpc": tritonclient.grpc, "http": tritonclient.http}
# Takes any tensor and returns one number, so that only the transport is timed.
SINK_MODEL = '''
"""Returns 1 for every request."""
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("one", np.ones((1,), np.float32))]) for _ in requests]
'''
# The same after half a millisecond of work.
SPIN_MODEL = SINK_MODEL.replace(
    "    def execute(self, requests):\n",
    "    def execute(self, requests):\n"
    "        import time\n"
    "        ends = time.perf_counter() + 0.0005\n"
    "        while time.perf_counter() < ends:\n"
    "            pass\n",
)
SINK_CONFIG = """
backend: "python"
max_batch_size: 0
input { name: "pixels" data_type: TYPE_FP32 dims: -1 }
output { name: "one" data_type: TYPE_FP32 dims: 1 }
"""
FLOATS = {
    "1 kB": 250, "4 kB": 1_000, "16 kB": 4_000, "32 kB": 8_000, "64 kB": 16_384, "128 kB": 32_768, "256 kB": 65_536,
    "600 kB, ResNet-50 [1,3,224,224]": 3 * 224 * 224, "4.8 MB, ResNet-50 [8,3,224,224]": 8 * 3 * 224 * 224,
    "20 MB": 5_000_000,
}  # fmt: skip
Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Two variants of a call; `ratio` is the second's time divided by the first's, low and high are its quartiles."""

    what: str
    first_ms: float
    second_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


def compare(what: str, first: Call, second: Call, rounds: int, round_s: float) -> Row:
    """Time both calls alternately after a warm-up; the order alternates too."""
    calls = (first, second)
    for call in calls * 20:
        call()
    count = max(3, int(round_s / _seconds(first, 5)))
    times = np.zeros((rounds, 2))
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            times[turn, which] = _seconds(calls[which], count)
    low, ratio, high = np.percentile(times[:, 1] / times[:, 0], [25, 50, 75])
    middle = np.median(times, axis=0) * 1000
    return Row(what, float(middle[0]), float(middle[1]), float(ratio), float(low), float(high))


def _seconds(call: Call, count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count


def bare(triton: Any, protocol: str, model: str, name: str, datatype: str, array: NDArray[Any]) -> Call:
    """The call with tritonclient alone."""
    library = TRITONCLIENT[protocol]

    def call() -> list[NDArray[Any]]:
        tensor = library.InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array)
        result = triton.infer(model, [tensor])
        response = result.get_response()
        outputs = response["outputs"] if protocol == "http" else response.outputs
        return [result.as_numpy(output["name"] if protocol == "http" else output.name) for output in outputs]

    return call


def overheads(server: Server, protocol: str, rounds: int, round_s: float) -> Iterator[Row]:
    url = server.grpc_url if protocol == "grpc" else server.http_url
    pixels = (np.arange(64, dtype=np.uint8) % 17).reshape(1, 1, 8, 8)
    picture = io.BytesIO()
    Image.fromarray(pixels[0, 0] * 15).save(picture, "PNG")
    png = picture.getvalue()
    image = bytes_array([png])
    with TRITONCLIENT[protocol].InferenceServerClient(url) as triton, Client(f"{protocol}://{url}") as client:
        for what, first, second in (
            (
                "digits_int8",
                bare(triton, protocol, "digits_int8", "pixels", "UINT8", pixels),
                lambda: client.infer("digits_int8", {"pixels": pixels}),
            ),
            (
                "classify_image",
                bare(triton, protocol, "classify_image", "image", "BYTES", image),
                lambda: client.classify([png]),
            ),
        ):
            yield compare(f"{what}, {protocol}", first, second, rounds, round_s)


class HttpxSender:
    """Sends the client's calls with httpx; the deadline covers the whole answer."""

    def __init__(self, url: str) -> None:
        self._url = f"http://{url}"
        # Without "identity" Triton compresses its answers.
        self._options: dict[str, Any] = {"headers": {"Accept-Encoding": "identity"}, "trust_env": False}
        self._client = httpx.Client(**self._options)
        self._async_client = httpx.AsyncClient(**self._options)

    def send(self, attempt: Attempt) -> Any:
        ends, request = time.monotonic() + attempt.timeout_s, http_request(attempt.call)
        with self._client.stream(*self._sent(request), **self._body(request), timeout=attempt.timeout_s) as answer:
            parts = []
            for part in answer.iter_raw():
                if time.monotonic() > ends:
                    raise TimeoutError
                parts.append(part)
        return http_answer(attempt.call, self._url, answer.status_code, answer.headers, b"".join(parts))

    async def send_async(self, attempt: Attempt) -> Any:
        request = http_request(attempt.call)
        async with asyncio.timeout(attempt.timeout_s):
            answer = await self._async_client.request(*self._sent(request), **self._body(request), timeout=None)
        return http_answer(attempt.call, self._url, answer.status_code, answer.headers, answer.content)

    def _sent(self, request: HttpRequest) -> tuple[str, str]:
        return request.method, self._url + request.path

    def _body(self, request: HttpRequest) -> dict[str, Any]:
        return {"content": b"".join(request.parts), "headers": dict(request.headers)}


def alternatives(server: Server, rounds: int, round_s: float) -> Iterator[Row]:
    """Compare our HTTP senders with httpx, synchronous and with asyncio, which enters its loop for each call."""
    pixels = (np.arange(64, dtype=np.uint8) % 17).reshape(1, 1, 8, 8)
    calls = {
        "digits_int8": Infer("digits_int8", (raw_from_array("pixels", pixels),)),
        "a model of 0.5 ms": Infer("spin", (raw_from_array("pixels", np.zeros(250, np.float32)),)),
    }
    ours, ours_async, theirs = HttpSender(), AsyncHttpSender(), HttpxSender(server.http_url)
    with asyncio.Runner() as runner:
        for what, call in calls.items():
            attempt = Attempt(server.http_url, call, 60.0)
            yield compare(what, partial(ours, attempt), partial(theirs.send, attempt), rounds, round_s)

            def first(attempt: Attempt = attempt) -> object:
                return runner.run(ours_async(attempt))

            def second(attempt: Attempt = attempt) -> object:
                return runner.run(theirs.send_async(attempt))

            yield compare(f"{what}, asyncio", first, second, rounds, round_s)
        runner.run(ours_async.close())


def gains(server: Server, protocol: str, rounds: int, round_s: float) -> Iterator[Row]:
    """Compare shared memory, chosen by the client or always on, with sending tensors over the network."""
    url = f"{protocol}://{server.grpc_url if protocol == 'grpc' else server.http_url}"
    with Client(url) as chosen, Client(url, shared_memory=False) as wire, Client(url, shared_memory=True) as always:
        for what, count in FLOATS.items():
            array = np.random.default_rng(0).standard_normal(count, np.float32)

            def call(client: Client, inputs: Mapping[str, NDArray[Any]]) -> Call:
                return lambda: client.infer("sink", inputs)

            first = call(wire, {"pixels": array})
            yield compare(f"{what}, {protocol}", call(chosen, {"pixels": array}), first, rounds, round_s)
            yield compare(f"{what}, {protocol}, always", call(always, {"pixels": array}), first, rounds, round_s)


@contextmanager
def pinned_server() -> Iterator[Server]:
    with ExitStack() as stack:
        repository = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for model in CLASSIFIER:
            (repository / model).symlink_to(ROOT / "model_repository" / model)
        (repository / "sink" / "1").mkdir(parents=True)
        (repository / "sink" / "config.pbtxt").write_text(SINK_CONFIG, encoding="utf-8")
        (repository / "sink" / "1" / "model.py").write_text(SINK_MODEL, encoding="utf-8")
        (repository / "spin" / "1").mkdir(parents=True)
        (repository / "spin" / "config.pbtxt").write_text(SINK_CONFIG, encoding="utf-8")
        (repository / "spin" / "1" / "model.py").write_text(SPIN_MODEL, encoding="utf-8")
        os.sched_setaffinity(0, {SERVER_CORE})  # processes started now stay on it
        server = stack.enter_context(Server(repository, http_port=0, grpc_port=0, metrics_port=0))
        os.sched_setaffinity(0, {CLIENT_CORE})
        yield server


def table_of(title: str, names: tuple[str, str, str], rows: list[Row]) -> Table:
    table = Table("what", *names, "quartiles", title=title, title_justify="left", box=None)
    for row in rows:
        spread = f"{row.ratio_low:.3f} to {row.ratio_high:.3f}"
        table.add_row(row.what, f"{row.first_ms:.3f}", f"{row.second_ms:.3f}", f"{row.ratio:.3f}", spread)
    return table


def machine() -> dict[str, str]:
    libraries = {name: version(name) for name in ("tritonclient", "grpcio", "aiohttp", "httpx", "numpy")}
    return {
        "cpu": cpu_name(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    } | libraries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--round-s", type=float, default=0.2, help="seconds of each variant in a round")
    parser.add_argument("--only", choices=("overhead", "memory", "httpx"))
    parser.add_argument("--protocol", choices=tuple(TRITONCLIENT))
    chosen = parser.parse_args()
    console, this_machine = Console(), machine()
    result: dict[str, Any] = {"machine": this_machine, "rounds": chosen.rounds}
    with pinned_server() as server:
        for protocol in [chosen.protocol] if chosen.protocol else TRITONCLIENT:
            if chosen.only in (None, "overhead"):
                rows = list(overheads(server, protocol, chosen.rounds, chosen.round_s))
                names = ("bare ms", "ours ms", "ours/bare")
                console.print(table_of("Our client against bare tritonclient, one request at a time", names, rows))
                result[f"overhead_{protocol}"] = [asdict(row) for row in rows]
            if chosen.only in (None, "memory"):
                rows = list(gains(server, protocol, chosen.rounds, chosen.round_s))
                names = ("as chosen ms", "wire ms", "gain")
                console.print(table_of("Shared memory against the wire, one request at a time", names, rows))
                result[f"memory_{protocol}"] = [asdict(row) for row in rows]
        if chosen.only in (None, "httpx"):
            rows = list(alternatives(server, chosen.rounds, chosen.round_s))
            console.print(table_of("httpx against our HTTP senders", ("ours ms", "httpx ms", "httpx/ours"), rows))
            result["httpx"] = [asdict(row) for row in rows]
    shown = ", ".join(f"{key} {value}" for key, value in this_machine.items())
    console.print(f"{chosen.rounds} alternating rounds; {shown}")
    file = ROOT / "build" / "client_overhead.json"
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
