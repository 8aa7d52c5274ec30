"""What of a network's table in models.toml each step of the build depends on: all of it, minus what cannot matter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from ai102.contract import Network

Step = Literal["export", "calibrate", "quantize", "quantize for TensorRT", "search", "choose engine", "install"]

# Keys that only say how Triton serves the network. A key of the contract that is in no list counts everywhere.
SERVING = (
    "allow_nonfinite",
    "batching.max_queue_delay_us",
    "batching.preferred_batch_sizes",
    "batching.preserve_ordering",
    "batching.priorities",
    "batching.queue",
    "engine",
    "instances",
    "latency_goal",
    "parameters",
    "response_cache",
    "text.max_bytes",
    "versions",
    "warmup",
)
# Every step is given what these lead to: the source's identity, the samples and the recipe.
GIVEN_OTHERWISE = ("allow_pickle", "calibration_set", "quantization", "sha256", "source")
# Steps that ask only whether there is a batch dimension; `contract_inputs` says that apart.
BATCH_SIZE = ("batching.max_batch_size",)
JUDGING = ("budget", "labels")
PREPARATION = ("image", "text")
# The plan itself keeps to these; the graph that it is built from depends on the precision alone.
PLAN = (
    "tensorrt.cuda_graphs",
    "tensorrt.hardware_compatibility",
    "tensorrt.opt_batch_size",
    "tensorrt.optimization_level",
    "tensorrt.version_compatible",
    "tensorrt.workspace_mb",
)
WITHOUT_INFLUENCE: Mapping[Step, tuple[str, ...]] = {
    "export": (*SERVING, *GIVEN_OTHERWISE, *BATCH_SIZE, *JUDGING, "tensorrt"),
    "calibrate": (*SERVING, *GIVEN_OTHERWISE, *BATCH_SIZE, *JUDGING, "tensorrt"),
    # INT8 is timed against FP32 at the largest batch.
    "quantize": (*SERVING, *GIVEN_OTHERWISE, "tensorrt"),
    "quantize for TensorRT": (*SERVING, *GIVEN_OTHERWISE, *BATCH_SIZE, *PLAN),
    "search": (*SERVING, *GIVEN_OTHERWISE, *BATCH_SIZE, "tensorrt"),
    "choose engine": (*(key for key in SERVING if key not in ("engine", "instances")), *GIVEN_OTHERWISE, "tensorrt"),
    # The file is there and was judged: what is left is that its tensors are those of the contract.
    "install": (*SERVING, *GIVEN_OTHERWISE, *BATCH_SIZE, *JUDGING, *PREPARATION, "task", "tensorrt"),
}


def contract_inputs(step: Step, network: Network) -> dict[str, str]:
    """The keys of the network that `step` depends on, with their values, as one of its inputs."""
    keys = network.model_dump(mode="json")
    for key in WITHOUT_INFLUENCE[step]:
        _drop(keys, key.split("."))
    has_batch = network.batching.max_batch_size > 0
    return {"contract": json.dumps(keys | {"has_batch_dimension": has_batch}, sort_keys=True)}


def _drop(keys: dict[str, Any], path: list[str]) -> None:
    """Take the key out, where its table is there."""
    *tables, last = path
    for table in tables:
        keys = keys.get(table) or {}
    keys.pop(last, None)
