"""The input of a job as the API takes it in JSON, and the outputs of one as arrays; no network here."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai102.client.errors import BadAnswerError, BadRequestError
from ai102.client.tensors import NUMPY_TYPES, Arrays, raw_from_array

# An encoded image or a sealed payload, a text, or the arrays of one row by input name.
JobItem = bytes | str | Arrays


def row_from_item(
    model: str,
    item: JobItem,
    key: str,
    priority: str = "normal",
    not_after: datetime | None = None,
    callback: str = "",
) -> bytes:
    """One job of a body of POST /v1/jobs. Raises BadRequestError for what JSON or the API cannot hold."""
    row: dict[str, Any] = {"model": model, "key": key, **_input_of(item)}
    if priority != "normal":
        row["priority"] = priority
    if not_after is not None:
        if not_after.tzinfo is None:
            raise BadRequestError(f"not_after {not_after} has no time zone: give one, such as datetime.UTC", "", model)
        row["not_after"] = not_after.isoformat()
    if callback:
        row["callback"] = callback
    try:
        return json.dumps(row, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as err:
        raise BadRequestError(f"{model}: an input is not finite, which JSON cannot hold", "", model) from err


def _input_of(item: JobItem) -> dict[str, Any]:
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, bytes | bytearray | memoryview):
        return {"data": base64.b64encode(item).decode("ascii")}
    if isinstance(item, Mapping):
        return {"inputs": [_tensor(name, np.asarray(array)) for name, array in item.items()]}
    kind = type(item).__name__
    raise BadRequestError(f"an item is bytes, a text or a mapping of arrays by input name, not {kind}")


def _tensor(name: str, array: NDArray[Any]) -> dict[str, Any]:
    datatype = raw_from_array(name, array).datatype
    if datatype == "BF16":
        raise BadRequestError(f"{name} is bfloat16, which JSON cannot hold: ask a model that takes FP32")
    values = array.reshape(-1).tolist()
    if datatype == "BYTES":
        values = [_text(name, value) for value in values]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": values}


def _text(name: str, value: object) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as err:
        raise BadRequestError(f"{name} holds bytes that are no UTF-8: send them alone, as the item itself") from err


def arrays_from_outputs(outputs: Any) -> dict[str, NDArray[Any]]:
    """The arrays by name, without the batch dimension; BYTES become an array of bytes objects, null becomes NaN.

    Raises BadAnswerError.
    """
    try:
        return {tensor["name"]: _array(tensor["datatype"], tensor["shape"], tensor["data"]) for tensor in outputs}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as err:
        raise BadAnswerError(f"the outputs of a job are not as the API writes them ({err})") from err


def _array(datatype: str, shape: list[int], data: list[Any]) -> NDArray[Any]:
    if datatype == "BYTES":
        array = np.empty(len(data), np.object_)
        array[:] = [value.encode() for value in data]
        return array.reshape(shape)
    kind = np.dtype(np.float32) if datatype == "BF16" else NUMPY_TYPES[datatype]
    return np.array(data, kind).reshape(shape)
