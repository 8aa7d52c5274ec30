"""Whether each Python model still works, as a liveness probe asks: a server that is only busy must not be restarted.

Three things say that a process is dead: it is a zombie; or for as long as an inference is waited for, Triton answers
every time that it is, or takes nothing from its queue. Any other answer, errors too, shows that it lives. Once is not
enough: Triton says so of a process that got no processor for a second. Late answers while others are given are a busy
server's.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ai102_runtime.health.asking import LateError, RefusedError, UnhealthyError, answer
from ai102_runtime.health.processes import Stubs, stubs_of
from ai102_runtime.health.samples import inference_of, sample_of

# A model that is unloaded ends its processes, and they are zombies for a moment.
STAYS_DEAD_S = 1.0
AT_ONCE = 16
# What Triton answers for a model whose process is gone.
STUB_IS_DEAD = "Stub process"


def check_every_stub(
    repository: Path, server: str, within_s: float, look: Callable[[Path], Stubs] = stubs_of
) -> list[str]:
    """Lines about what is busy. Raises UnhealthyError with all that is dead, in one line, or when nobody listens."""
    first = look(repository)
    if first.dead:
        time.sleep(STAYS_DEAD_S)
    then = look(repository)
    models = {
        model: config
        for model in sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
        if (config := _config(f"{server}/v2/models/{model}"))
    }
    if first.dead & then.dead:
        raise UnhealthyError("; ".join(_missing(models, then)) or "a process of a Python model ended")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(
            lambda model: _asked(f"{server}/v2/models/{model}", models[model], repository / model, within_s), models
        )
        problems = dict(zip(models, answers, strict=True))
    if dead := [f"{model}: {why}" for model, (why, is_dead) in problems.items() if is_dead]:
        raise UnhealthyError("; ".join(dead))
    return [f"{model}: {why}" for model, (why, _) in problems.items() if why]


def _config(address: str) -> dict[str, Any]:
    """Empty for a model that is not served, has no process of its own, or cannot be asked for now."""
    try:
        config: dict[str, Any] = json.loads(answer(urllib.request.Request(f"{address}/config")))
    except (RefusedError, LateError):
        return {}
    return {} if config.get("platform") == "ensemble" else config


def _asked(address: str, config: Mapping[str, Any], folder: Path, within_s: float) -> tuple[str, bool]:
    """What is wrong with the model, if anything, and whether its process is dead."""
    sample = sample_of(config, folder)
    if not sample:
        return "", False
    ends = time.monotonic() + within_s
    try:
        done = _done(address)
        while True:
            try:
                answer(inference_of(address, config, sample), within_s)
            except RefusedError as err:
                if STUB_IS_DEAD not in str(err):
                    return "", False
                if time.monotonic() >= ends:
                    return str(err), True
            else:
                return "", False
    except LateError:
        return _why_late(address, done, within_s)


def _why_late(address: str, done: int, within_s: float) -> tuple[str, bool]:
    try:
        if _done(address) == done:
            return f"took nothing from its queue for {within_s:g} s", True
    except LateError:
        pass  # it has no time for this question either
    return f"busy: no answer in {within_s:g} s", False


def _done(address: str) -> int:
    """How many executions of the model have ended, well or not."""
    stats = json.loads(answer(urllib.request.Request(f"{address}/stats")))["model_stats"]
    return sum(int(row["execution_count"]) + int(row["inference_stats"]["fail"]["count"]) for row in stats)


def _missing(models: Mapping[str, Mapping[str, Any]], stubs: Stubs) -> list[str]:
    """Which models have fewer processes than instances, of those that had any."""
    lines = []
    for model, config in models.items():
        if config.get("backend") != "python" and config.get("runtime") != "model.py":
            continue
        for group in config.get("instance_group", ()):
            wanted = int(group.get("count", 1)) * max(1, len(group.get("gpus", ())))
            running = sum(name == group["name"] or name.startswith(f"{group['name']}_") for name in stubs.running)
            if running < wanted:
                lines.append(f"{model}: {running} of {wanted} processes of {group['name']} run")
    return lines
