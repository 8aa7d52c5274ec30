"""Which engine computes an ONNX model from which file on which kind of CPU, as the build wrote it beside the file.

model.engines.json holds {kind of CPU: {"engine": ENGINE, "file": FILE}}, and under "otherwise" what serves a kind that
nobody judged. The config is the same for all of them, so that a repository fits every machine, and NVIDIA's own
backend too.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ai102_runtime.engine.signature import ModelRefusedError

# openvino-bf16: OpenVINO rounds an FP32 file's values to bf16 as it computes.
EngineName = Literal["onnxruntime", "openvino", "openvino-bf16"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
OTHERWISE = "otherwise"
RECORD = ".engines.json"
# Beside the record, or of another model of the repository.
FILE = re.compile(r"(?:(?:\.\./)+[\w-][\w.-]*/[1-9]\d*/)?[\w-][\w.-]*", re.ASCII)


class Choice(NamedTuple):
    """An engine and its file, whose path starts at the folder of the record."""

    engine: EngineName
    file: str


def record_of(model_file: Path) -> Path:
    """Where the choices for a model file stand."""
    return model_file.parent / f"{model_file.stem}{RECORD}"


def choices_for(model_file: Path) -> dict[str, Choice]:
    """By kind of CPU, empty without a record. Raises ModelRefusedError for one that cannot be read."""
    record = record_of(model_file)
    try:
        choices = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError):
        choices = None
    if not isinstance(choices, dict) or not all(map(_is_choice, choices.values())):
        raise ModelRefusedError(
            f"{'/'.join(record.parts[-2:])} is not a record of engines: build it again (in this project: "
            f"`make engine`), or write {{}} for ONNX Runtime"
        )
    return {cpu: Choice(**choice) for cpu, choice in choices.items()}


def _is_choice(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(Choice._fields)
        and value["engine"] in ENGINES
        and isinstance(value["file"], str)
        and FILE.fullmatch(value["file"]) is not None
    )


def judged_choice(model_file: Path, cpu: str) -> Choice:
    """The choice for that kind of CPU. Raises ModelRefusedError as `choices_for` does."""
    return choice_among(choices_for(model_file), model_file, cpu)


def choice_among(choices: Mapping[str, Choice], model_file: Path, cpu: str) -> Choice:
    """That of the kind of CPU, else of kinds that nobody judged, else ONNX Runtime with the file itself."""
    return choices.get(cpu) or choices.get(OTHERWISE) or Choice("onnxruntime", model_file.name)
