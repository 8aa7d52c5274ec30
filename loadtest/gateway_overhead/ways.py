"""The requests of the measurement, sent by h2load, which leaves most of the core to the gateway."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http
from numpy.typing import NDArray
from PIL import Image
from tritonclient.grpc import service_pb2 as pb

from ai102.client import bytes_array
from ai102.errors import UserError

PROTOCOLS = ("grpc", "rest")
METHOD = "inference.GRPCInferenceService/ModelInfer"
LIMIT_S = 60


@dataclass(frozen=True)
class Work:
    """One inference: the model and its one input."""

    name: str
    model: str
    input: str
    datatype: str
    array: NDArray[Any]


def works() -> list[Work]:
    picture = io.BytesIO()
    Image.fromarray((np.arange(64, dtype=np.uint8) % 17).reshape(8, 8) * 15).save(picture, "PNG")
    return [
        Work("classify_image", "classify_image", "image", "BYTES", bytes_array([picture.getvalue()]).reshape(1, 1)),
        Work("embed_text", "embed_text", "text", "BYTES", bytes_array([b"A cat sat on the mat."]).reshape(1, 1)),
        Work("echo of 100 kB", "echo", "IN", "UINT8", np.zeros(100_000, np.uint8)),
    ]


@dataclass(frozen=True)
class Way:
    """An encoded request that can be sent many times."""

    url: str
    headers: tuple[str, ...]
    body: bytes
    is_http1: bool


def way(protocol: str, address: str, work: Work, token: str) -> Way:
    """With a token through the gateway, over TLS; without one directly to a replica."""
    scheme = "https" if token else "http"
    bearer = [f"authorization: Bearer {token}"] if token else []
    tensor = tritonclient.http.InferInput(work.input, work.array.shape, work.datatype)
    tensor.set_data_from_numpy(work.array)
    if protocol == "grpc":
        request = pb.ModelInferRequest(model_name=work.model)
        request.inputs.add(name=work.input, datatype=work.datatype, shape=work.array.shape)
        request.raw_input_contents.append(tensor._get_binary_data())
        message = request.SerializeToString()
        headers = ["content-type: application/grpc", "te: trailers", *bearer]
        framed = b"\0" + len(message).to_bytes(4, "big") + message  # gRPC's length-prefixed message, not compressed
        return Way(f"{scheme}://{address}/{METHOD}", tuple(headers), framed, is_http1=False)
    body, json_bytes = tritonclient.http.InferenceServerClient.generate_request_body([tensor])
    headers = ["content-type: application/octet-stream", f"inference-header-content-length: {json_bytes}", *bearer]
    return Way(f"{scheme}://{address}/v2/models/{work.model}/infer", tuple(headers), body, is_http1=True)


@dataclass(frozen=True)
class Timings:
    """Each request's time and the rate of answers, without the first tenth of the requests."""

    times_ms: Sequence[float]
    per_s: float


def ask(way: Way, count: int, connections: int) -> Timings:
    """Send a request `count` times over `connections` connections, one in flight on each.

    Raises UserError if an answer has not status 200. The status does not show the success of a gRPC call: use the
    server's statistics for that.
    """
    with tempfile.TemporaryDirectory() as place:
        body, log = Path(place, "body"), Path(place, "log")
        body.write_bytes(way.body)
        headers = [part for header in way.headers for part in ("-H", header)]
        command = ["h2load", f"-n{count}", f"-c{connections}", "-m1", f"--data={body}", f"--log-file={log}", *headers]
        command += ["--h1"] if way.is_http1 else []
        done = subprocess.run([*command, way.url], capture_output=True, text=True, timeout=LIMIT_S, check=False)
        rows = [line.split() for line in log.read_text(encoding="ascii").splitlines()] if log.is_file() else []
    statuses = {status for _, status, _ in rows}
    if done.returncode or len(rows) != count or statuses != {"200"}:
        raise UserError(f"{way.url}: {len(rows)} of {count} answered, {statuses}: {done.stdout}{done.stderr}"[:1000])
    starts, durations = (np.array([int(row[column]) for row in rows]) for column in (0, 2))
    ends = np.sort(starts + durations)
    first = count // 10
    per_s = (count - first - 1) / (ends[-1] - ends[first]) * 1e6
    return Timings((durations[np.argsort(starts)][first:] / 1000).tolist(), float(per_s))
