"""What a body of POST /v1/jobs asks for: each job checked as far as it can be without asking the model."""

from __future__ import annotations

import binascii
import hashlib
import math
from array import array
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from pydantic_core import from_json

from ai102.api.jobs.caller import Caller
from ai102.api.problems import Problem
from ai102.contract.served import ServedModel
from ai102.contract.tables import Tensor
from ai102.jobs.item import Form, Item, item_of_tensors
from ai102.jobs.job import NewJob, Priority, new_id

MAX_JOBS = 1000
MAX_KEY_CHARS = 255
_INPUTS = ("image", "text", "data", "inputs")
_KEYS = {"model", "priority", "not_after", "callback", "key", *_INPUTS}
_PRIORITIES = {priority.name.lower(): priority for priority in Priority}
# Of Python's array, which checks what it is given; half floats are narrowed afterwards.
_CODES = {
    "BOOL": "b", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "d", "FP32": "f", "FP64": "d",
}  # fmt: skip
_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_TENSOR_KEYS = {"name", "datatype", "shape", "data"}


class Wanted(NamedTuple):
    """The jobs of one call, each as it came; `is_many` tells how the caller wants the answer."""

    rows: list[Any]
    is_many: bool


def wanted_from_json(body: bytes) -> Wanted:
    """Raises Problem: 400 for what is no JSON, 422 for what is neither a job nor a list of at most 1,000."""
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as err:
        raise Problem("malformed", "The body is not valid JSON in UTF-8.") from err
    if not isinstance(document, dict):
        raise Problem("invalid", "Send a job, or a list of them as jobs.")
    if "jobs" not in document:
        return Wanted([document], False)
    rows = document["jobs"]
    if len(document) > 1 or not isinstance(rows, list) or not rows:
        raise Problem("invalid", "jobs: Send a list of one job or more, and nothing beside it.")
    if len(rows) > MAX_JOBS:
        raise Problem("invalid", f"jobs: There are more than {MAX_JOBS} jobs in the list.")
    return Wanted(rows, True)


def ids_from_json(body: bytes) -> list[str]:
    """The ids that a body of POST /v1/jobs/ended asks about. Raises Problem."""
    try:
        document = from_json(body)
    except ValueError as err:
        raise Problem("malformed", "The body is not valid JSON in UTF-8.") from err
    ids = document.get("ids") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(ids, list) or not ids or not all(isinstance(id, str) and len(id) == 36 for id in ids):
        raise Problem("invalid", "Send a list of ids of jobs as ids.")
    if len(ids) > MAX_JOBS:
        raise Problem("invalid", f"ids: There are more than {MAX_JOBS}.")
    return list(dict.fromkeys(ids))


def job_from_row(
    row: Any, models: Mapping[str, ServedModel], caller: Caller, max_bytes: int, key: str, traceparent: str
) -> NewJob:
    """`key` is the call's Idempotency-Key for this job, empty if it has none. Raises Problem."""
    if not isinstance(row, dict):
        raise Problem("invalid", "A job is an object.")
    if strange := row.keys() - _KEYS:
        raise Problem("invalid", f"{sorted(strange)[0][:60]}: A job has no such key.")
    name = _text(row, "model")
    if not name:
        raise Problem("invalid", "model: Say which model to ask.")
    # First of all: who may not ask a model does not learn whether there is one.
    allowed_bytes = caller.largest(name)
    model = models.get(name)
    if model is None:
        raise Problem("invalid", "model: There is no such model.")
    item = _item_of(row, model, max_bytes)
    if len(item.data) > allowed_bytes:
        raise Problem("too-large", f"The input of {len(item.data)} bytes is larger than your rights allow.")
    own_key = _text(row, "key") or key
    if len(own_key) > MAX_KEY_CHARS:
        raise Problem("invalid", f"key: It is longer than {MAX_KEY_CHARS} characters.")
    priority = _PRIORITIES.get(_text(row, "priority") or "normal")
    if priority is None:
        raise Problem("invalid", f"priority: Send {', '.join(_PRIORITIES)}.")
    return NewJob(
        new_id(),
        caller.name,
        name,
        item,
        own_key,
        _fingerprint(name, item) if own_key else b"",
        priority,
        _time(_text(row, "not_after")),
        _callback(_text(row, "callback")),
        traceparent,
    )


def _fingerprint(model: str, item: Item) -> bytes:
    return hashlib.blake2b(b"\0".join((model.encode(), item.forms.encode(), item.data)), digest_size=16).digest()


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise Problem("invalid", f"{key}: Send a string.")
    return value


def _time(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise Problem("invalid", "not_after: Send a time as RFC 3339 has it, 2026-12-01T10:00:00Z.") from err
    if moment.tzinfo is None:
        raise Problem("invalid", "not_after: Say the time's offset, Z for UTC.")
    return moment.timestamp()


def _callback(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        is_web = False
    if not is_web or len(url) > 2048:
        raise Problem("invalid", "callback: Send an address that begins with https://.")
    return url


def _item_of(row: Mapping[str, Any], model: ServedModel, max_bytes: int) -> Item:
    given = [key for key in _INPUTS if key in row]
    if len(given) != 1:
        raise Problem("invalid", f"Send one of {', '.join(_INPUTS)}.")
    (kind,) = given
    if kind == "inputs":
        item = item_of_tensors(_tensors(row["inputs"], model))
    else:
        if len(model.inputs) != 1 or model.inputs[0].type != "BYTES" or model.inputs[0].dims != (1,):
            raise Problem("invalid", f"{kind}: {model.name} takes tensors: send them as inputs.")
        data = _bytes(row[kind], kind)
        item = item_of_tensors([(Form(model.inputs[0].name, "BYTES", (1,)), len(data).to_bytes(4, "little") + data)])
    if len(item.data) > max_bytes:
        raise Problem("too-large", f"{kind}: The input is larger than {max_bytes} bytes.")
    return item


def _bytes(value: Any, kind: str) -> bytes:
    if not isinstance(value, str) or not value:
        raise Problem("invalid", f"{kind}: Send a string that is not empty.")
    if kind == "text":
        try:
            return value.encode()
        except UnicodeEncodeError as err:
            raise Problem("invalid", "text: It holds half of a surrogate pair.") from err
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError) as err:
        raise Problem("invalid", f"{kind}: Send its bytes in base64.") from err


def _tensors(tensors: Any, model: ServedModel) -> list[tuple[Form, bytes]]:
    if not isinstance(tensors, list) or not all(
        isinstance(tensor, dict) and tensor.keys() == _TENSOR_KEYS for tensor in tensors
    ):
        raise Problem("invalid", "inputs: Send a list of tensors, each with name, datatype, shape and data.")
    given = {tensor["name"]: tensor for tensor in tensors if isinstance(tensor["name"], str)}
    names = [tensor.name for tensor in model.inputs]
    if len(given) != len(tensors) or given.keys() != set(names):
        raise Problem("invalid", f"inputs: {model.name} takes {', '.join(names)}.")
    return [_tensor(given[tensor.name], tensor, bool(model.max_batch_size)) for tensor in model.inputs]


def _tensor(given: Mapping[str, Any], tensor: Tensor, has_batches: bool) -> tuple[Form, bytes]:
    where = f"inputs.{tensor.name}"
    if given["datatype"] != tensor.type:
        raise Problem("invalid", f"{where}: The datatype is {tensor.type}.")
    shape = given["shape"]
    wanted = (1, *tensor.dims) if has_batches else tensor.dims
    if not isinstance(shape, list) or not _fits(shape, wanted):
        words = ", ".join("any" if dim < 0 else str(dim) for dim in wanted)
        raise Problem("invalid", f"{where}: The shape is [{words}]: a job is one row.")
    values = _flat(given["data"])
    if values is None or len(values) != math.prod(shape):
        raise Problem("invalid", f"{where}: data is no list of {math.prod(shape)} values, as the shape wants.")
    try:
        data = _packed(values, tensor.type)
    except (ValueError, TypeError, OverflowError) as err:
        raise Problem("invalid", f"{where}: The data are not all {tensor.type}.") from err
    return Form(tensor.name, tensor.type, tuple(shape[1:] if has_batches else shape)), data


def _fits(shape: list[Any], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        type(dim) is int and dim >= 0 and want in (dim, -1) for dim, want in zip(shape, wanted, strict=True)
    )


def _flat(data: Any) -> list[Any] | None:
    """The values of a list, or of lists in lists, in row-major order."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            return None
        data = [value for part in data for value in part]
    return data if isinstance(data, list) else None


def _packed(values: list[Any], kind: str) -> bytes:
    """As Triton's binary tensor data. Raises ValueError, TypeError or OverflowError for what is not of the kind."""
    if kind == "BYTES":
        encoded = [value.encode() if isinstance(value, str) else bytes(memoryview(value)) for value in values]
        return b"".join(len(value).to_bytes(4, "little") + value for value in encoded)
    if (kind == "BOOL") != all(type(value) is bool for value in values):
        raise ValueError("a truth value, or none")
    if kind not in _CODES:
        raise ValueError("not to be sent as JSON, in Triton's REST protocol too")
    packed = array(_CODES[kind], values)
    if kind in _FLOATS:
        numbers = np.frombuffer(packed, packed.typecode).astype(_FLOATS[kind], copy=False)
        if not np.isfinite(numbers).all():
            raise ValueError("out of range")
        return numbers.tobytes()
    return packed.tobytes()
