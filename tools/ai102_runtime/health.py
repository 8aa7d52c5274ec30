"""A health check that asks something: exit status 0 when it is answered right, else 1 with one line.

    python3 -m ai102_runtime.health get URL...         each is answered 200; a certificate is not looked at
    python3 -m ai102_runtime.health models REPOSITORY  every model with a sample answers a real inference
    python3 -m ai102_runtime.health recent FILE S      the file was written in the last S seconds

A model's sample is its warm-up data, or for a pipeline in one process what its first step takes. A model without one is
asked whether it is ready. AI102_HEALTH_URL names the server, by default http://127.0.0.1:8000. The standard library is
all that it imports.
"""

import base64
import json
import math
import os
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0
BYTES_OF = {"BOOL": 1, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "FP16": 2, "BF16": 2, "UINT32": 4, "INT32": 4}
BYTES_OF |= {"FP32": 4, "UINT64": 8, "INT64": 8, "FP64": 8}
# One grey pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
# What the first step of a pipeline takes, by the kind of the step.
SAMPLES = {"decode_image": PNG, "tokenize": b"healthy?"}


class UnhealthyError(Exception):
    """What does not answer as it should; one line."""


def main(arguments: list[str]) -> int:
    """The exit status; what is wrong goes to standard output, which Docker and Kubernetes keep."""
    try:
        if len(arguments) > 1 and arguments[0] == "get":
            for url in arguments[1:]:
                _answer(urllib.request.Request(url))
        elif len(arguments) == 2 and arguments[0] == "models":
            check_models(Path(arguments[1]), os.environ.get("AI102_HEALTH_URL", "http://127.0.0.1:8000"))
        elif len(arguments) == 3 and arguments[0] == "recent":
            check_recent(Path(arguments[1]), float(arguments[2]))
        else:
            given = " ".join(arguments)
            raise UnhealthyError(f"usage: health get URL... | models REPOSITORY | recent FILE SECONDS, not {given!r}")
    except UnhealthyError as err:
        sys.stdout.write(f"{err}\n")
        return 1
    return 0


def check_models(repository: Path, server: str) -> None:
    """Ask every model of the repository. Raises UnhealthyError for the first that does not answer."""
    models = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    if not models:
        raise UnhealthyError(f"{repository}: has no model")
    for model in models:
        address = f"{server}/v2/models/{model}"
        config = json.loads(_answer(urllib.request.Request(f"{address}/config")))
        if inputs := sample_of(config, repository / model):
            header, body = request_of(config, inputs)
            _answer(
                urllib.request.Request(
                    f"{address}/infer", header + body, {"Inference-Header-Content-Length": str(len(header))}
                )
            )
        else:
            _answer(urllib.request.Request(f"{address}/ready"))


def check_recent(file: Path, within_s: float) -> None:
    """Raises UnhealthyError when the file is missing or was written longer ago."""
    try:
        age_s = time.time() - file.stat().st_mtime
    except OSError as err:
        raise UnhealthyError(f"{file}: {err.strerror}") from err
    if age_s > within_s:
        raise UnhealthyError(f"{file}: was written {age_s:.0f} s ago, wanted within {within_s:g} s")


def sample_of(config: Mapping[str, Any], folder: Path) -> dict[str, tuple[list[int], bytes]]:
    """Shape without batch and raw content of each input, empty where the model brings no sample."""
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


def request_of(config: Mapping[str, Any], sample: Mapping[str, tuple[list[int], bytes]]) -> tuple[bytes, bytes]:
    """The JSON and the binary tensors of an inference of one sample."""
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
    return header, b"".join(content for _, content in sample.values())


def _answer(request: urllib.request.Request) -> bytes:
    # A name of the certificate says nothing on the loopback, and no proxy of the environment may stand between.
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as err:
        reason = err.read(300).decode("utf-8", "replace").strip()
        raise UnhealthyError(f"{request.full_url}: {err.code} {reason}") from err
    except (OSError, ValueError) as err:
        raise UnhealthyError(f"{request.full_url}: {err}") from err


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
