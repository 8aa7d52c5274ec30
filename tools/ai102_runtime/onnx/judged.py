"""An ONNX file on the engine that the build judged the fastest for this kind of CPU, else on ONNX Runtime."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai102_runtime.engine.cpu import this_cpu
from ai102_runtime.engine.engine import Config, Engine, Instance
from ai102_runtime.engine.record import judged_engine
from ai102_runtime.engine.signature import ModelRefusedError
from ai102_runtime.onnx import engine as onnxruntime
from ai102_runtime.openvino.settings import instances_of


def opened(path: Path, config: Config, instance: Instance, warn: Callable[[str], None]) -> Engine:
    """Open the file. Where OpenVINO was chosen and cannot open it, ONNX Runtime does, and `warn` is given the reason.

    Every file that the build serves passed its checks in ONNX Runtime too. Raises ModelRefusedError for a file or a
    record that cannot be read.
    """
    if instance.kind == "CPU" and judged_engine(path, this_cpu()) == "openvino":
        try:
            from ai102_runtime.openvino import engine as openvino

            return openvino.opened(path, openvino_config(config), instance)
        except ModelRefusedError as err:
            warn(f"computed by ONNX Runtime, and OpenVINO was judged faster on this kind of CPU: {err}")
    return onnxruntime.opened(path, config, instance)


def openvino_config(config: Config) -> Mapping[str, Any]:
    """The config with ONNX Runtime's number of threads, which is an instance's, as OpenVINO's, which all share."""
    parameters = dict(config.get("parameters", {}))
    threads = parameters.get("intra_op_thread_count", {}).get("string_value", "").strip()
    if threads.isdecimal() and int(threads) > 0:
        parameters["INFERENCE_NUM_THREADS"] = {"string_value": str(int(threads) * instances_of(config))}
    return {**config, "parameters": parameters}
