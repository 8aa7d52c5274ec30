"""Calls as Triton's HTTP protocol spells them, and its answers read back; no network here.

KServe's predict protocol, version 2, with Triton's extensions for binary tensors, shared memory and the model
repository.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from ai102.client.calls import (  # fmt: skip
    Answer,
    Call,
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
)
from ai102.client.errors import BadAnswerError, error_from_answer, no_triton, seconds_from_retry_after, wrong_protocol
from ai102.client.tensors import Raw

BINARY = {"binary_data": True}
JSON_SIZE = "Inference-Header-Content-Length"
# What other servers, and Triton's port for metrics, say to a path or a method they do not know.
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
        case Index():
            return HttpRequest("POST", "/v2/repository/index", call.headers)
        case Load(model=model):
            return HttpRequest("POST", f"/v2/repository/models/{quote(model, safe='')}/load", call.headers)
        case Statistics(model=model):
            path = f"/v2/models/{quote(model, safe='')}/stats" if model else "/v2/models/stats"
            return HttpRequest("GET", path, call.headers)
        case Register():
            body = json.dumps({"key": call.key, "offset": 0, "byte_size": call.size}).encode()
            return HttpRequest("POST", _region(call.region, "register"), call.headers, (body,))
        case Unregister():
            return HttpRequest("POST", _region(call.region, "unregister"), call.headers)


def http_answer(call: Call, url: str, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """What the call asked for. Raises the InferenceError that the status stands for."""
    if status != 200:
        sentence = _sentence(body)
        if status == 415:  # of the door's port for gRPC: Triton takes what we send, and so does the door's for HTTP
            raise wrong_protocol(url)
        if status in NO_TRITON and sentence in (None, "Not Found", "Method Not Allowed"):
            raise no_triton(url, f"HTTP {status}")
        # What a proxy in between says is shown as it is, cut short.
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
        told = _place(region) if region else {"binary_data_size": len(raw.data)}
        inputs.append({"name": raw.name, "datatype": raw.datatype, "shape": list(raw.shape), "parameters": told})
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
    """Triton's own sentence, if it is Triton's."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return None
