"""A liveness check: exit status 1 when a model's process is dead or stuck, 0 also when the server is only busy.

    python3 -m ai102_runtime.liveness REPOSITORY

Triton calls a model ready whose process is dead, so every model that has a process is asked for an inference: its warm-up
data, what its first step takes, or zeros, which it may refuse. What tells a dead one from a busy one:

| answer | verdict |
|---|---|
| an inference, or a refusal of the model's own | alive |
| "Stub process ... is not healthy" | dead |
| an error for its own warm-up data | dead |
| the queue is full, the request waited too long there, the model is not loaded | alive |
| none in time, and the model ran others meanwhile | alive: it is busy |
| none in time, and nothing was run | stuck |

AI102_HEALTH_URL names the server, by default http://127.0.0.1:8000. The standard library is all that it imports.
"""

import json
import math
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ai102_runtime.health import BYTES_OF, request_of, sample_of

# The longest that one batch of any model may run: shorter, and a slow batch would pass for a stuck process.
PATIENCE_S = 8.0
DEAD = "Stub process"
# What Triton answers for a model whose queue is full or gave up, and for one that is being loaded or unloaded.
BUSY = ("exceeds maximum queue size", "timeout expired", "is not ready", "unknown model", "no available versions")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(arguments: list[str]) -> int:
    """The exit status; what is dead goes to standard output, which Kubernetes keeps."""
    if len(arguments) != 1:
        sys.stdout.write(f"usage: liveness REPOSITORY, not {' '.join(arguments)!r}\n")
        return 1
    server = os.environ.get("AI102_HEALTH_URL", "http://127.0.0.1:8000")
    problems = dead_models(Path(arguments[0]), server)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


def dead_models(repository: Path, server: str, patience_s: float = PATIENCE_S) -> list[str]:
    """A line for each model whose process is dead or stuck; takes `patience_s` where one does not answer."""
    models = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    if not models:
        return [f"{repository}: has no model"]
    with ThreadPoolExecutor(len(models)) as pool:
        verdicts = pool.map(lambda model: _verdict(repository / model, f"{server}/v2/models/{model}", patience_s), models)
        return [f"{model}: {verdict}" for model, verdict in zip(models, verdicts, strict=True) if verdict]


def _verdict(folder: Path, address: str, patience_s: float) -> str:
    """Empty for a model that lives, else what is wrong with it."""
    try:
        config = json.loads(_content(urllib.request.Request(f"{address}/config"), patience_s))
        if config.get("platform") == "ensemble":
            return ""  # it has no process of its own
        own = sample_of(config, folder)
        ran_before = _executions(address, patience_s)
        header, body = request_of(config, own or zeros_of(config))
        headers = {"Inference-Header-Content-Length": str(len(header))}
        try:
            _content(urllib.request.Request(f"{address}/infer", header + body, headers), patience_s)
        except urllib.error.HTTPError as err:
            return _verdict_on_error(err, is_own=bool(own))
        except TimeoutError:
            is_busy = _executions(address, patience_s) > ran_before
            return "" if is_busy else f"ran nothing for {patience_s:g} s while a request waited"
    except urllib.error.HTTPError as err:
        return _verdict_on_error(err, is_own=False)
    except (OSError, ValueError) as err:
        return f"the server does not answer: {err}"
    return ""


def _verdict_on_error(err: urllib.error.HTTPError, *, is_own: bool) -> str:
    reason = err.read(500).decode("utf-8", "replace").strip()
    if DEAD in reason:
        return reason
    is_busy = err.code in (429, 503) or any(words in reason.lower() for words in BUSY)
    return reason if is_own and not is_busy else ""


def zeros_of(config: Mapping[str, Any]) -> dict[str, tuple[list[int], bytes]]:
    """Inputs of zeros; a dimension of any size is 1, a text is empty."""
    sample = {}
    for tensor in config["input"]:
        dims = [max(1, int(size)) for size in tensor["dims"]]
        size = BYTES_OF.get(tensor["data_type"].removeprefix("TYPE_"), 4)  # of a text: its length
        sample[tensor["name"]] = (dims, bytes(size * math.prod(dims)))
    return sample


def _executions(address: str, patience_s: float) -> int:
    """How many batches the model ran since it was loaded."""
    statistics = json.loads(_content(urllib.request.Request(f"{address}/stats"), patience_s))
    return sum(int(row.get("execution_count", 0)) for row in statistics["model_stats"])


def _content(request: urllib.request.Request, patience_s: float) -> bytes:
    """Raises TimeoutError, also for one that urllib wraps."""
    try:
        with OPENER.open(request, timeout=patience_s) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as err:
        if isinstance(err.reason, TimeoutError):
            raise err.reason from err
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
