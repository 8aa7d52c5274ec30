"""The configs of a running server's models, read and overridden: no file changes, and no restart."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2 as pb
from tritonclient.utils import InferenceServerException

from ai102.client.addresses import addresses_from_url
from ai102.errors import UserError

LOAD_TIMEOUT_S = 120.0


class ConfigRefusedError(UserError):
    """The server did not load a model with the config it was given; it still serves the one of before."""


class LiveServer:
    """One server at `url`, over HTTP or gRPC. Ask it something by `ai102.client` first: its errors say more."""

    def __init__(self, url: str) -> None:
        """Raises UserError for a URL of another kind, or of several servers."""
        protocol, addresses = addresses_from_url(url)
        if len(addresses) > 1:
            raise UserError(f'"{url}" names {len(addresses)} servers: name one')
        self.url = url
        self._is_http = protocol == "http"
        self._client = _client(protocol, addresses[0])

    def config(self, model: str) -> pb.ModelConfig:
        """The config that `model` is served with, what Triton filled in included. Raises UserError."""
        try:
            answer = self._client.get_model_config(model, **({} if self._is_http else {"as_json": True}))
        except InferenceServerException as err:
            raise UserError(f"{self.url}: no config of {model} ({_sentence(err)}); `ai102 models` lists those") from err
        # A newer server's config may hold fields that the installed protobuf does not know.
        found: pb.ModelConfig = json_format.ParseDict(
            answer if self._is_http else answer["config"], pb.ModelConfig(), ignore_unknown_fields=True
        )
        return found

    def load(self, model: str, config: pb.ModelConfig) -> None:
        """Serve `model` with `config` until it is loaded anew with another.

        Loading it without one would not bring the file's back: Triton sees that the file is the one it knows.
        Raises ConfigRefusedError, and UserError where the server lets nobody load models.
        """
        text = json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)
        more = {} if self._is_http else {"client_timeout": LOAD_TIMEOUT_S}
        try:
            self._client.load_model(model, config=text, **more)
        except InferenceServerException as err:
            sentence = _sentence(err)
            if "explicit model load" in sentence:
                raise UserError(
                    f"{self.url}: not in explicit model control mode, so no config can be tried on it; start it with "
                    f"`ai102 serve --model {model}`, or leave --url out"
                ) from err
            raise ConfigRefusedError(f"{self.url}: {model} was not loaded: {sentence}") from err

    def version(self) -> str:
        """Of the server, such as "2.51.0"."""
        answer = self._client.get_server_metadata()
        return str(answer["version"] if self._is_http else answer.version)

    def close(self) -> None:
        self._client.close()


def _client(protocol: str, address: str) -> Any:
    if protocol == "http":
        from tritonclient.http import InferenceServerClient

        return InferenceServerClient(address, network_timeout=LOAD_TIMEOUT_S, connection_timeout=10.0)
    from tritonclient.grpc import InferenceServerClient

    return InferenceServerClient(address)


def _sentence(err: InferenceServerException) -> str:
    return " ".join(str(err.message()).split()) or "no reason given"
