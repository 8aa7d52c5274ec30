"""An ONNX Runtime session from a Triton model config, with the parameters of NVIDIA's own backend."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from ai102_runtime.engine.parameters import parameters_from_config, truth
from ai102_runtime.engine.signature import ModelRefusedError

# optimization.graph.level of Triton's config; any other value leaves every optimization on.
GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
LOG_ERRORS, LOG_FATAL = 3, 4
ARENA_SHRINKAGE = "memory.enable_memory_arena_shrinkage"
# onnxruntime's exceptions have no base class of their own.
ORT_ERRORS = tuple(kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception))
DEVICE_ALLOCATOR = "session.use_device_allocator_for_initializers"


def options_from_config(config: Mapping[str, Any]) -> ort.SessionOptions:
    """Session options; unknown parameters are ignored as in NVIDIA's backend, malformed ones refused."""
    parameters = parameters_from_config(config)
    options = ort.SessionOptions()
    options.log_severity_level = LOG_ERRORS
    level = config.get("optimization", {}).get("graph", {}).get("level", 0)
    options.graph_optimization_level = GRAPH_LEVELS.get(int(level), ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    options.intra_op_num_threads = _whole_number(parameters, "intra_op_thread_count")
    options.inter_op_num_threads = _whole_number(parameters, "inter_op_thread_count")
    mode = _whole_number(parameters, "execution_mode")
    if mode not in (0, 1):
        raise ModelRefusedError(f"parameter execution_mode is {mode}: write 0 (sequential) or 1 (parallel)")
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL if mode else ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = truth(parameters, "enable_mem_arena", default=True)
    if ARENA_SHRINKAGE in parameters and not options.enable_cpu_mem_arena:
        raise ModelRefusedError(f"parameter {ARENA_SHRINKAGE} needs an arena: leave out enable_mem_arena: false")
    options.enable_mem_pattern = truth(parameters, "enable_mem_pattern", default=True)
    if DEVICE_ALLOCATOR in parameters:
        options.add_session_config_entry(DEVICE_ALLOCATOR, parameters[DEVICE_ALLOCATOR])
    for library in config.get("model_operations", {}).get("op_library_filename", []):
        options.register_custom_ops_library(library)
    return options


def run_options_from_config(config: Mapping[str, Any]) -> ort.RunOptions:
    """What is said anew at every run."""
    options = ort.RunOptions()
    # The client learns of a failed run; the same in the server's log is noise.
    options.log_severity_level = LOG_FATAL
    parameters = parameters_from_config(config)
    if ARENA_SHRINKAGE in parameters:
        options.add_run_config_entry(ARENA_SHRINKAGE, parameters[ARENA_SHRINKAGE])
    return options


def providers_for(kind: str, device_id: int) -> list[Any]:
    """CUDA on that device for an instance of KIND_GPU where this onnxruntime has it, else the CPU."""
    if kind == "GPU" and "CUDAExecutionProvider" in ort.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": str(device_id)}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def opened_session(path: Path, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    """Open an ONNX file, or the model.onnx in a folder of that name; ModelRefusedError says what is wrong with it."""
    file = path / "model.onnx" if path.is_dir() else path
    shown = "/".join(file.parts[-3:] if path.is_dir() else file.parts[-2:])
    if not file.is_file():
        raise ModelRefusedError(f"{shown} is missing: build or copy it there (in this project: `make engine`)")
    try:
        return ort.InferenceSession(str(file), options, providers=providers)
    except ORT_ERRORS as err:
        raise ModelRefusedError(f"{shown} {_advice(err, file)}") from None


def _advice(err: Exception, file: Path) -> str:
    kind, text = type(err).__name__, str(err)
    if kind in ("InvalidProtobuf", "NoModel") or file.stat().st_size == 0 or "No graph was found" in text:
        return "is not a whole ONNX file: build or copy it again (in this project: `make engine`)"
    if "external data" in text.lower():
        return f"has its weights in a file beside it that cannot be read: copy that file too ({plain_reason(err)})"
    return f"cannot be opened by ONNX Runtime {ort.__version__}: {plain_reason(err)}"


def plain_reason(err: Exception) -> str:
    """The core of an ONNX Runtime message: one line without its codes, source places and folders."""
    text = " ".join(str(err).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .* failed: ?", "", text)
    step = re.search(r"while running (\w+) node\.", text)
    text = text.rpartition("Status Message: ")[2]
    # "/path/file.h:40 void ns::Name(args) a == b was false. What it means"
    text = re.sub(r"\S*/\S+:\d+ .*? was (?:false|true)\. ?", "", text)
    text = re.sub(r"\S*/\S+:\d+ \S+\(.*?\) ?", "", text)
    text = re.sub(r"(?:/[\w.+-]+){2,}/?", "(path)", text)
    text = text.removesuffix(" Please fix either the inputs/outputs or the model.").rstrip(". ")
    return f"{text[:300]}, in a step {step[1]}" if step else text[:300]


def _whole_number(parameters: Mapping[str, str], key: str) -> int:
    text = parameters.get(key, "0")
    try:
        return max(int(text), 0) if key != "execution_mode" else int(text)
    except ValueError:
        raise ModelRefusedError(f"parameter {key} is {text!r}: write a whole number") from None
