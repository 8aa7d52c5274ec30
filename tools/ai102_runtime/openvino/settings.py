"""The parameters of Triton's own OpenVINO backend, as properties for OpenVINO's CPU plugin."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ai102_runtime.engine.parameters import parameters_from_config
from ai102_runtime.engine.signature import ModelRefusedError

NUMBERS = ("INFERENCE_NUM_THREADS", "COMPILATION_NUM_THREADS")
TRUTHS = ("RESHAPE_IO_LAYERS", "ENABLE_BATCH_PADDING", "SKIP_OV_DYNAMIC_BATCHSIZE")
HINTS = ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT")
STREAMS = ("AUTO", "NUMA")
# Compiled steps that the CPU plugin keeps, eight a shape of MiniLM, 3 to 4 MB. Without a bound each shape stays.
KEPT_STEPS = 512


@dataclass(frozen=True)
class Settings:
    """What a config asks of OpenVINO. `extension` is a library of operators, or empty."""

    properties: Mapping[str, Any]
    is_reshaped: bool
    extension: str


def settings_from_config(config: Mapping[str, Any]) -> Settings:
    """Unknown parameters are ignored as in Triton's own backend, malformed ones refused."""
    parameters = {key: value.strip() for key, value in parameters_from_config(config).items()}
    numbers = {key: _whole_number(parameters, key) for key in NUMBERS}
    truths = {key: _yes(parameters, key) for key in TRUTHS}
    _check_choices(parameters)
    properties = {
        # The CPU plugin's own default is bf16 where the processor has it, and nobody judged that.
        "INFERENCE_PRECISION_HINT": "bf16" if "HINT_BF16" in parameters else "f32",
        "INFERENCE_NUM_THREADS": threads_of_instance(config, numbers["INFERENCE_NUM_THREADS"]),
        "NUM_STREAMS": 1,
        # Each process would bind its threads to the same first cores.
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": KEPT_STEPS,
    }
    return Settings(
        properties,
        truths["RESHAPE_IO_LAYERS"],
        parameters.get("CPU_EXTENSION_PATH", ""),
    )


def threads_of_instance(config: Mapping[str, Any], threads: int) -> int:
    """Its share: the instances of a model share INFERENCE_NUM_THREADS, as in Triton's own backend."""
    return max((threads or len(os.sched_getaffinity(0))) // instances_of(config), 1)


def instances_of(config: Mapping[str, Any]) -> int:
    """How many a model has, at least one."""
    return max(sum(int(group.get("count", 1)) for group in config.get("instance_group", [])), 1)


def _check_choices(parameters: Mapping[str, str]) -> None:
    if parameters.get("HINT_BF16", "YES").upper() != "YES":
        raise ModelRefusedError(f"parameter HINT_BF16 is {parameters['HINT_BF16']!r}: write YES, or leave it out")
    if parameters.get("PERFORMANCE_HINT", HINTS[0]).upper() not in HINTS:
        hint = parameters["PERFORMANCE_HINT"]
        raise ModelRefusedError(f"parameter PERFORMANCE_HINT is {hint!r}: write {' or '.join(HINTS)}")
    streams = parameters.get("NUM_STREAMS", STREAMS[0])
    if not _is_number(streams) and streams.upper() not in STREAMS:
        raise ModelRefusedError(f"parameter NUM_STREAMS is {streams!r}: write AUTO, NUMA or a whole number")
    device = parameters.get("TARGET_DEVICE", "CPU")
    if device.upper() != "CPU":
        raise ModelRefusedError(
            f"parameter TARGET_DEVICE is {device!r}, and this backend computes on the CPU: "
            "leave it out, or use Triton's own OpenVINO backend"
        )


def _whole_number(parameters: Mapping[str, str], key: str) -> int:
    text = parameters.get(key, "0")
    if not _is_number(text):
        raise ModelRefusedError(f"parameter {key} is {text!r}: write a whole number")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _yes(parameters: Mapping[str, str], key: str) -> bool:
    text = parameters.get(key, "NO").upper()
    if text not in ("YES", "NO"):
        raise ModelRefusedError(f"parameter {key} is {parameters[key]!r}: write YES or NO")
    return text == "YES"
