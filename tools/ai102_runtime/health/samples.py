"""A real inference for a model: of its warm-up data, or for a pipeline in one process of what its first step takes."""

import base64
import json
import math
import struct
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BYTES_OF = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "UINT32": 4, "INT32": 4}
BYTES_OF |= {"FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8}
# One grey pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
# What the first step of a pipeline takes, by the kind of the step.
SAMPLES = {"decode_image": PNG, "tokenize": b"healthy?"}
# Shape without batch and raw content of each input.
Sample = Mapping[str, tuple[list[int], bytes]]


def sample_of(config: Mapping[str, Any], folder: Path) -> Sample:
    """Empty where the model brings no sample."""
    for warmup in config.get("model_warmup", ()):
        sample = {}
        for name, tensor in warmup["inputs"].items():
            file = folder / "warmup" / tensor.get("input_data_file", "")
            dims = [int(size) for size in tensor["dims"]]
            size = BYTES_OF.get(tensor["data_type"].removeprefix("TYPE_"), 0) * math.prod(dims)
            if file.is_file() and size == file.stat().st_size:
                sample[name] = (dims, file.read_bytes())
        if len(sample) == len(config["input"]):
            return sample
    steps = config.get("parameters", {}).get("steps", {}).get("string_value")
    item = SAMPLES.get(json.loads(steps)[0]["kind"]) if steps else None
    if item is None or len(config["input"]) != 1:
        return {}
    return {config["input"][0]["name"]: ([1], struct.pack("<I", len(item)) + item)}


def inference_of(address: str, config: Mapping[str, Any], sample: Sample) -> urllib.request.Request:
    """The inference of one sample; `address` is the model's."""
    types = {tensor["name"]: tensor["data_type"].removeprefix("TYPE_") for tensor in config["input"]}
    batch = [1] if int(config.get("max_batch_size", 0)) else []
    inputs = [
        {
            "name": name,
            "shape": [*batch, *dims],
            "datatype": "BYTES" if types[name] == "STRING" else types[name],
            "parameters": {"binary_data_size": len(content)},
        }
        for name, (dims, content) in sample.items()
    ]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = header + b"".join(content for _, content in sample.values())
    return urllib.request.Request(f"{address}/infer", body, {"Inference-Header-Content-Length": str(len(header))})
