"""A health check that asks something: exit status 0 when it is answered right, else 1 with one line.

    python3 -m ai102_runtime.health get URL...         each is answered 200; a certificate is not looked at
    python3 -m ai102_runtime.health models REPOSITORY  every model with a sample answers a real inference
    python3 -m ai102_runtime.health models REPOSITORY --every-stub
                                                       no process of a Python model is dead or hangs; busy is not dead
    python3 -m ai102_runtime.health recent FILE S      the file was written in the last S seconds

A model's sample is its warm-up data, or for a pipeline in one process what its first step takes. A model without one is
asked whether it is ready. AI102_HEALTH_URL names the server, by default http://127.0.0.1:8000. AI102_HEALTH_WITHIN_S is
how long --every-stub waits for an inference, by default 8: more than the longest execution of a model takes.
"""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

from ai102_runtime.health.asking import UnhealthyError, answer
from ai102_runtime.health.every_stub import check_every_stub
from ai102_runtime.health.samples import inference_of, sample_of

USAGE = "usage: health get URL... | models REPOSITORY [--every-stub] | recent FILE SECONDS"


def main(arguments: list[str]) -> int:
    """The exit status; what is wrong goes to standard output, which Docker and Kubernetes keep."""
    server = os.environ.get("AI102_HEALTH_URL", "http://127.0.0.1:8000")
    try:
        if len(arguments) > 1 and arguments[0] == "get":
            for url in arguments[1:]:
                answer(urllib.request.Request(url))
        elif len(arguments) == 2 and arguments[0] == "models":
            check_models(Path(arguments[1]), server)
        elif len(arguments) == 3 and arguments[0] == "models" and arguments[2] == "--every-stub":
            within_s = float(os.environ.get("AI102_HEALTH_WITHIN_S", "8"))
            for line in check_every_stub(Path(arguments[1]), server, within_s):
                sys.stdout.write(f"{line}\n")
        elif len(arguments) == 3 and arguments[0] == "recent":
            check_recent(Path(arguments[1]), float(arguments[2]))
        else:
            raise UnhealthyError(f"{USAGE}, not {' '.join(arguments)!r}")
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
        config = json.loads(answer(urllib.request.Request(f"{address}/config")))
        if sample := sample_of(config, repository / model):
            answer(inference_of(address, config, sample))
        else:
            answer(urllib.request.Request(f"{address}/ready"))


def check_recent(file: Path, within_s: float) -> None:
    """Raises UnhealthyError when the file is missing or was written longer ago."""
    try:
        age_s = time.time() - file.stat().st_mtime
    except OSError as err:
        raise UnhealthyError(f"{file}: {err.strerror}") from err
    if age_s > within_s:
        raise UnhealthyError(f"{file}: was written {age_s:.0f} s ago, wanted within {within_s:g} s")
