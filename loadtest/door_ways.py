"""The calls that door_overhead.py times: one inference over each protocol, asked directly or through the door."""

from __future__ import annotations

import http.client
import io
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import tritonclient.http
from numpy.typing import NDArray
from PIL import Image
from tritonclient.grpc import service_pb2 as pb

from ai102.client import bytes_array
from ai102.errors import UserError

METHOD = "/inference.GRPCInferenceService/ModelInfer"
Call = Callable[[], object]
# One connection of its own for each user.
Connect = Callable[[], AbstractContextManager[Call]]


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


def over_grpc(address: str, work: Work, ca: bytes | None, token: str) -> Connect:
    """The message is made once: what is timed is its way."""
    request = pb.ModelInferRequest(model_name=work.model)
    request.inputs.add(name=work.input, datatype=work.datatype, shape=work.array.shape)
    raw = tritonclient.http.InferInput(work.input, work.array.shape, work.datatype).set_data_from_numpy(work.array)
    request.raw_input_contents.append(raw._get_binary_data())
    message = request.SerializeToString()
    metadata = [("authorization", f"Bearer {token}")] if ca else []
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]

    @contextmanager
    def connect() -> Iterator[Call]:
        credentials = grpc.ssl_channel_credentials(ca) if ca else None
        channel = grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(
            address, options
        )  # fmt: skip
        with channel:
            infer = channel.unary_unary(METHOD)
            yield lambda: infer(message, metadata=metadata, timeout=20)

    return connect


def over_rest(address: str, work: Work, ca: bytes | None, token: str) -> Connect:
    tensor = tritonclient.http.InferInput(work.input, work.array.shape, work.datatype)
    tensor.set_data_from_numpy(work.array)
    body, json_bytes = tritonclient.http.InferenceServerClient.generate_request_body([tensor])
    headers = {"Content-Type": "application/octet-stream"}
    headers |= {"Inference-Header-Content-Length": str(json_bytes)} if json_bytes else {}
    headers |= {"Authorization": f"Bearer {token}"} if ca else {}
    context = ssl.create_default_context(cadata=ca.decode()) if ca else None

    @contextmanager
    def connect() -> Iterator[Call]:
        connection = (
            http.client.HTTPSConnection(address, timeout=20, context=context)
            if context
            else http.client.HTTPConnection(address, timeout=20)
        )

        def call() -> None:
            connection.request("POST", f"/v2/models/{work.model}/infer", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise UserError(f"{address} answered {answer.status}: {content[:200]!r}")

        try:
            yield call
        finally:
            connection.close()

    return connect


PROTOCOLS = {"grpc": over_grpc, "rest": over_rest}
