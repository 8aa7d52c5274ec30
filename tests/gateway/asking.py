"""Ask a gateway in both protocols, and say in a word what came back."""

import json
import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
import httpx
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.conftest import Home

SERVICE = "/inference.GRPCInferenceService/"


def tensor_json(size: int = 4, **parameters: Any) -> dict[str, Any]:
    inputs = [{"name": "IN", "datatype": "UINT8", "shape": [size], "data": [1] * size}]
    return {"inputs": inputs} | ({"parameters": parameters} if parameters else {})


def binary_body(size: int) -> tuple[bytes, dict[str, str]]:
    """A REST request with a binary tensor: its body and the headers that go with it."""
    parameters = {"binary_data_size": size}
    inputs = [{"name": "IN", "datatype": "UINT8", "shape": [size], "parameters": parameters}]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return head + b"\1" * size, headers


def infer_message(model: str = "echo", size: int = 4, **parameters: int) -> bytes:
    message = pb.ModelInferRequest(model_name=model)
    tensor = message.inputs.add()
    tensor.name, tensor.datatype = "IN", "UINT8"
    tensor.shape.append(size)
    message.raw_input_contents.append(b"\1" * size)
    for name, value in parameters.items():
        message.parameters[name].int64_param = value
    return bytes(message.SerializeToString())


class Asker:
    """Both protocols to one gateway, with or without a client's certificate."""

    def __init__(self, home: Home, *, with_certificate: bool = False) -> None:
        context = ssl.create_default_context(cafile=home.ca)
        pem = home.client_certificate.read_bytes()
        if with_certificate:
            context.load_cert_chain(home.client_certificate)
        self.rest = httpx.Client(
            base_url=f"https://{home.gateway.listen.rest}", verify=context, timeout=30, trust_env=False
        )
        credentials = grpc.ssl_channel_credentials(
            home.ca.read_bytes(), *((pem, pem) if with_certificate else (None, None))
        )
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
                   ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]  # fmt: skip
        self.channel = grpc.secure_channel(home.gateway.listen.grpc, credentials, options=options)

    def close(self) -> None:
        self.rest.close()
        self.channel.close()

    def status(self, method: str, path: str, token: str | None = None, **options: Any) -> int:
        """The HTTP status of a REST request."""
        return self.ask(method, path, token, **options).status_code

    def ask(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return self.rest.request(method, path, headers=headers, **options)

    def call(
        self,
        message: bytes,
        token: str | None = None,
        *,
        method: str = "ModelInfer",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """The gRPC status of a call, as its name."""
        name = method if method.startswith("/") else SERVICE + method
        try:
            self.channel.unary_unary(name)(message, metadata=_metadata(token, metadata), timeout=30)
        except grpc.RpcError as err:
            return str(err.code().name)
        return "OK"

    def stream(self, messages: Iterable[bytes], token: str) -> tuple[int, str]:
        """How many answers of ModelStreamInfer came, and the status it ended with."""
        answers = 0
        try:
            for _ in self.channel.stream_stream(SERVICE + "ModelStreamInfer")(
                iter(messages), metadata=_metadata(token, None), timeout=30
            ):
                answers += 1
        except grpc.RpcError as err:
            return answers, str(err.code().name)
        return answers, "OK"


def _metadata(token: str | None, more: Mapping[str, str] | None) -> Sequence[tuple[str, str]]:
    own = [] if token is None else [("authorization", f"Bearer {token}")]
    return [*own, *(more or {}).items()]
