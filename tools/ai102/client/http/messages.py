"""Calls as requests of Triton's HTTP protocol, and its answers; no network here.

KServe's predict protocol, version 2, with Triton's extensions for binary tensors, shared memory and the model
repository.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from ai102.client.calls import (  # fmt: skip
    Answer,
    Call,
    Config,
    Describe,
    Description,
    Index,
    Infer,
    Load,
    ModelState,
    Region,
    Register,
    Statistics,
    Unregister,
    Version,
)
from ai102.client.errors import BadAnswerError, error_from_answer, no_triton, seconds_from_retry_after, wrong_protocol
from ai102.client.tensors import Raw

BINARY = {"binary_data": True}
JSON_SIZE = "Inference-Header-Content-Length"
# The statuses of other servers, and of Triton's metrics port, for an unknown path or method.
NO_TRITON = (301, 302, 404, 405, 501)


class HttpRequest(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    parts: Sequence[Any] = ()  # of the body: buffers, sent one after the other


def http_request(call: Call) -> HttpRequest:
    match call:
        case Infer():
            return _infer(call)
        case Describe(model=model):
            return HttpRequest("GET", f"/v2/models/{quote(model, safe='')}/config", call.headers)
        case Config(model=model):
            return HttpRequest("GET", f"/v2/models/{quote(model, safe='')}/config", call.headers)
        case Version():
            return HttpRequest("GET", "/v2", call.headers)
        case Index():
            return HttpRequest("POST", "/v2/repository/index", call.headers)
        case Load(model=model):
            path = f"/v2/repository/models/{quote(model, safe='')}/load"
            return HttpRequest("POST", path, call.headers, _overrides(call))
        case Statistics(model=model):
            path = f"/v2/models/{quote(model, safe='')}/stats" if model else "/v2/models/stats"
            return HttpRequest("GET", path, call.headers)
        case Register():
            body = json.dumps({"key": call.key, "offset": 0, "byte_size": call.size}).encode()
            return HttpRequest("POST", _region(call.region, "register"), call.headers, (body,))
        case Unregister():
            return HttpRequest("POST", _region(call.region, "unregister"), call.headers)


def http_answer(call: Call, url: str, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The result of the call. Raises the InferenceError that the status stands for."""
    if status != 200:
        sentence = _sentence(body)
        if status == 415:  # 415 means we reached the gateway's gRPC port.
            raise wrong_protocol(url)
        if status in NO_TRITON and sentence in (None, "Not Found", "Method Not Allowed"):
            raise no_triton(url, f"HTTP {status}")
        # The body of a proxy's error is shown as it is, cut short.
        words = sentence or body[:200].decode("utf-8", "replace").strip() or "no reason given"
        retry_after_s = seconds_from_retry_after(headers.get("Retry-After", ""))
        raise error_from_answer(str(status), words, call.model, retry_after_s)
    try:
        match call:
            case Infer():
                return _answer(call, int(headers.get(JSON_SIZE, len(body))), body)
            case Describe():
                config = json.loads(body)
                inputs, outputs = (tuple(tensor["name"] for tensor in config.get(k, ())) for k in ("input", "output"))
                return Description(int(config.get("max_batch_size", 0)), inputs, outputs)
            case Config():
                return _config(body)
            case Version():
                return str(json.loads(body)["version"])
            case Index():
                rows = json.loads(body)
                return [ModelState(*(row.get(key, "") for key in ModelState._fields)) for row in rows]
            case Statistics():
                return json.loads(body)["model_stats"]
            case _:
                return None
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        words = f"{call.model or url}: the server's answer is not Triton's ({err}): ask the server itself, not a proxy"
        raise BadAnswerError(words, "200", call.model) from err


def _infer(call: Infer) -> HttpRequest:
    inputs, parts = [], []
    for raw in call.tensors:
        region = call.inputs_at.get(raw.name)
        place = _place(region) if region else {"binary_data_size": len(raw.data)}
        inputs.append({"name": raw.name, "datatype": raw.datatype, "shape": list(raw.shape), "parameters": place})
        if not region:
            parts.append(raw.data)
    message: dict[str, Any] = {"inputs": inputs}
    if call.request_id:
        message["id"] = call.request_id
    classes = {"classification": call.class_count} if call.class_count else {}
    outputs = [
        {"name": n, "parameters": classes | (_place(call.outputs_at[n]) if n in call.outputs_at else BINARY)}
        for n in call.outputs
    ]
    if outputs:
        message["outputs"] = outputs
    message["parameters"] = {**call.parameters, **({} if outputs else {"binary_data_output": True})}
    head = json.dumps(message).encode()
    version = f"/versions/{quote(call.version, safe='')}" if call.version else ""
    path = f"/v2/models/{quote(call.model, safe='')}{version}/infer"
    own = {JSON_SIZE: str(len(head)), "Content-Type": "application/octet-stream"}
    return HttpRequest("POST", path, {**call.headers, **own}, (head, *parts))


def _overrides(call: Load) -> tuple[bytes, ...]:
    if not call.config:
        return ()
    files = {f"file:{path}": base64.b64encode(content).decode() for path, content in call.files.items()}
    return (json.dumps({"parameters": {"config": call.config, **files}}).encode(),)


def _config(body: bytes) -> Any:
    # Imported here: most callers never ask for a config, and protobuf takes a while to load.
    from google.protobuf import json_format
    from tritonclient.grpc import model_config_pb2

    try:
        # A newer server's config may hold fields that the installed protobuf does not know.
        return json_format.Parse(body, model_config_pb2.ModelConfig(), ignore_unknown_fields=True)
    except json_format.ParseError as err:
        raise ValueError(str(err)) from err


def _answer(call: Infer, json_size: int, body: bytes) -> Answer:
    message = json.loads(body[:json_size])
    tensors, at, whole = {}, json_size, memoryview(body)
    for output in message.get("outputs", ()):
        size = output.get("parameters", {}).get("binary_data_size", 0)
        name, shape = output["name"], tuple(output["shape"])
        tensors[name] = Raw(name, output["datatype"], shape, whole[at : at + size])
        at += size
    return Answer(message["model_name"], message.get("model_version", ""), message.get("id", ""), tensors)


def _place(region: Region) -> dict[str, Any]:
    return {
        "shared_memory_region": region.name,
        "shared_memory_offset": region.offset,
        "shared_memory_byte_size": region.size,
    }


def _region(name: str, verb: str) -> str:
    return f"/v2/systemsharedmemory/region/{quote(name, safe='')}/{verb}"


def _sentence(body: bytes) -> str | None:
    """The sentence in Triton's form of an error; None for a body of another form."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return None
