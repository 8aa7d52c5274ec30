"""An ONNX file on the engine that the build judged the fastest for this kind of CPU, else on ONNX Runtime.

The build writes its choice beside the file: model.engines.json holds {kind of CPU: engine}. Config and file are the
same for all of them, so that a repository fits every machine, and NVIDIA's own backend too.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ai102_runtime.engine.cpu import this_cpu
from ai102_runtime.engine.engine import Config, Engine, Instance
from ai102_runtime.engine.signature import ModelRefusedError
from ai102_runtime.onnx import engine as onnxruntime

EngineName = Literal["onnxruntime", "openvino"]
ENGINES: tuple[EngineName, ...] = ("onnxruntime", "openvino")


def record_of(model_file: Path) -> Path:
    """Where the choice for a model file stands."""
    return model_file.with_suffix(".engines.json")


def judged_engine(model_file: Path, cpu: str) -> EngineName:
    """The choice for that kind of CPU; ONNX Runtime where there is none. Raises ModelRefusedError for a bad record."""
    record = record_of(model_file)
    try:
        choices = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "onnxruntime"
    except ValueError:
        choices = None
    if not isinstance(choices, dict) or any(choice not in ENGINES for choice in choices.values()):
        raise ModelRefusedError(
            f"{'/'.join(record.parts[-2:])} is not a record of engines: build it again (in this project: "
            f"`make engine`), or write {{}} for ONNX Runtime"
        )
    engine: EngineName = choices.get(cpu, "onnxruntime")
    return engine


def opened(path: Path, config: Config, instance: Instance, warn: Callable[[str], None]) -> Engine:
    """Open the file. Where OpenVINO was chosen and cannot open it, ONNX Runtime does, and `warn` is given the reason.

    Every file that the build serves passed its checks in ONNX Runtime too.
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
    threads = int(parameters.get("intra_op_thread_count", {}).get("string_value", "") or 0)
    if threads > 0:
        instances = sum(int(group.get("count", 1)) for group in config.get("instance_group", []))
        parameters["INFERENCE_NUM_THREADS"] = {"string_value": str(threads * max(instances, 1))}
    return {**config, "parameters": parameters}
