"""Which engine computes an ONNX file on which kind of CPU, as the build wrote it beside the file.

model.engines.json holds {kind of CPU: engine}. Config and file are the same for all of them, so that a repository fits
every machine, and NVIDIA's own backend too.
"""

import json
from pathlib import Path
from typing import Literal, get_args

from ai102_runtime.engine.signature import ModelRefusedError

EngineName = Literal["onnxruntime", "openvino"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


def record_of(model_file: Path) -> Path:
    """Where the choice for a model file stands."""
    return model_file.parent / f"{model_file.stem}.engines.json"


def judged_engine(model_file: Path, cpu: str) -> EngineName:
    """The choice for that kind of CPU; ONNX Runtime where there is none. Raises ModelRefusedError for a bad record."""
    record = record_of(model_file)
    try:
        choices = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return "onnxruntime"
    except (OSError, ValueError, RecursionError):
        choices = None
    if not isinstance(choices, dict) or any(choice not in ENGINES for choice in choices.values()):
        raise ModelRefusedError(
            f"{'/'.join(record.parts[-2:])} is not a record of engines: build it again (in this project: "
            f"`make engine`), or write {{}} for ONNX Runtime"
        )
    engine: EngineName = choices.get(cpu, "onnxruntime")
    return engine
