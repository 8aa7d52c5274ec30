"""An ONNX model on the engine, and from the file, that the build judged for this kind of CPU."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai102_runtime.engine.cpu import served_cpu
from ai102_runtime.engine.engine import Config, Engine, Instance
from ai102_runtime.engine.record import Choice, EngineName, choice_among, choices_for
from ai102_runtime.engine.signature import ModelRefusedError
from ai102_runtime.onnx import engine as onnxruntime
from ai102_runtime.openvino.settings import instances_of


def opened(path: Path, config: Config, instance: Instance, warn: Callable[[str], None]) -> Engine:
    """Open what was judged for this kind of CPU; on a GPU, the file itself.

    `warn` is given the reason where OpenVINO was chosen and cannot open a file, which ONNX Runtime then does, and where
    nobody judged this kind of CPU. Every file that the build serves passed its checks in ONNX Runtime too. Raises
    ModelRefusedError for a file or a record that cannot be read.
    """
    if instance.kind != "CPU":
        return onnxruntime.opened(path, config, instance)
    choices, cpu = choices_for(path), served_cpu()
    choice = choice_among(choices, path, cpu)
    file = path if choice.file == path.name else path.parent / choice.file
    if choices and cpu not in choices and file != path:
        warn(f"computed from {choice.file}: nobody judged {'/'.join(path.parts[-2:])} on this kind of CPU, {cpu}")
    engine = _opened(choice, file, config, instance, warn)
    if file != path:
        engine.title = f"{engine.title}, from {choice.file}"
    return engine


def _opened(choice: Choice, file: Path, config: Config, instance: Instance, warn: Callable[[str], None]) -> Engine:
    if choice.engine != "onnxruntime":
        try:
            from ai102_runtime.openvino import engine as openvino

            return openvino.opened(file, openvino_config(config, choice.engine), instance)
        except ModelRefusedError as err:
            warn(f"computed by ONNX Runtime, and OpenVINO was judged faster on this kind of CPU: {err}")
    return onnxruntime.opened(file, config, instance)


def openvino_config(config: Config, engine: EngineName = "openvino") -> Mapping[str, Any]:
    """The config with ONNX Runtime's number of threads, which is an instance's, as OpenVINO's, which all share."""
    parameters = dict(config.get("parameters", {}))
    threads = parameters.get("intra_op_thread_count", {}).get("string_value", "").strip()
    if threads.isdecimal() and int(threads) > 0:
        parameters["INFERENCE_NUM_THREADS"] = {"string_value": str(int(threads) * instances_of(config))}
    if engine == "openvino-bf16":
        parameters["HINT_BF16"] = {"string_value": "YES"}
    return {**config, "parameters": parameters}
