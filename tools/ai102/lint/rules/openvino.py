"""MR3xx: a model of the OpenVINO backend, its parameters and its files; a choice of engine beside an ONNX file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import ParseError, iterparse

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import served
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository
from ai102.lint.paths import is_file
from ai102_runtime.engine.cpu import this_cpu
from ai102_runtime.engine.record import choice_among, choices_for, record_of
from ai102_runtime.engine.signature import ModelRefusedError

CODES: tuple[Code, ...] = (
    Code(
        "MR313",
        "error",
        "parameter that the OpenVINO backend cannot read",
        "INFERENCE_NUM_THREADS and COMPILATION_NUM_THREADS are whole numbers, NUM_STREAMS one, AUTO or NUMA, "
        "PERFORMANCE_HINT is LATENCY, THROUGHPUT or CUMULATIVE_THROUGHPUT, HINT_BF16 is YES or left out, the others "
        "YES or NO, in capitals or not. Our backend refuses others at load, and a TARGET_DEVICE other than CPU.",
    ),
    Code(
        "MR314",
        "error",
        "OpenVINO file that is not whole",
        "A model of OpenVINO is an .xml file, whose outermost element is net, and the weights in a .bin file of "
        "the same name beside it. The backend refuses one without the other.",
    ),
    Code(
        "MR315",
        "error",
        "choice of engine that cannot be read",
        'model.engines.json beside an ONNX file holds {kind of CPU: {"engine": ENGINE, "file": FILE}}: onnxruntime, '
        "openvino or openvino-bf16 for x86-vnni, x86, arm and otherwise, and a file beside it or of another model. A "
        "build writes it. Our ONNX Runtime backend refuses another content at load, and a missing file where it is of "
        "this machine's kind of CPU. Without the record, it computes by ONNX Runtime.",
    ),
    Code(
        "MR316",
        "warning",
        "file for another kind of CPU that is not there",
        "model.engines.json names a file for a kind of CPU other than this machine's, and it is missing: the model "
        "loads here, and not on a machine of that kind.",
    ),
)

NUMBER = r"\d+"
SWITCH = "YES|NO"
# By parameter: what may stand there, as a pattern and in words.
ALLOWED = {
    "INFERENCE_NUM_THREADS": (NUMBER, "a whole number"),
    "COMPILATION_NUM_THREADS": (NUMBER, "a whole number"),
    "NUM_STREAMS": (f"AUTO|NUMA|{NUMBER}", "AUTO, NUMA or a whole number"),
    "PERFORMANCE_HINT": ("LATENCY|THROUGHPUT|CUMULATIVE_THROUGHPUT", "LATENCY or THROUGHPUT"),
    "HINT_BF16": ("YES", "YES, or leave it out"),
    "SKIP_OV_DYNAMIC_BATCHSIZE": (SWITCH, "YES or NO"),
    "ENABLE_BATCH_PADDING": (SWITCH, "YES or NO"),
    "RESHAPE_IO_LAYERS": (SWITCH, "YES or NO"),
    "TARGET_DEVICE": ("CPU", "CPU, or leave it out"),
}


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    _, backend, file = served(model)
    if repository.check_files and backend == "onnxruntime":
        yield from _records(model, file)
    if backend != "openvino":
        return
    if model.config is not None:
        yield from _parameters(model, model.config)
    if repository.check_files and file.endswith(".xml"):
        for version in model.loaded_versions:
            path = model.file(version, file)
            if is_file(path):
                yield from _files(model, path)


def _records(model: Model, file: str) -> Iterator[Finding]:
    for version in model.loaded_versions:
        path = model.file(version, file)
        shown = record_of(path).relative_to(model.folder).as_posix()
        try:
            choices = choices_for(path)
        except ModelRefusedError:
            advice = "build the model again, or take the file out for ONNX Runtime"
            yield model.finding("MR315", "", f"{shown} is not a choice of engines", advice)
            continue
        own = choice_among(choices, path, this_cpu())
        for cpu, choice in choices.items():
            if choice.file != path.name and not is_file(path.parent / choice.file):
                words = f"{shown} names {choice.file} for {cpu}, which is not there"
                code = "MR315" if choice == own else "MR316"
                yield model.finding(code, "", words, "build the model again, or copy that file too")


def _parameters(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    for key, (pattern, words) in ALLOWED.items():
        if key not in config.parameters:
            continue
        value = config.parameters[key].string_value.strip()
        if not re.fullmatch(pattern, value.upper(), re.ASCII):
            where = f'parameters["{key}"].value'
            yield model.finding("MR313", where, f"{key} is {value!r}", f'write string_value: "..." with {words}')


def _files(model: Model, path: Path) -> Iterator[Finding]:
    shown = path.relative_to(model.folder).as_posix()
    if not _is_net(path):
        yield model.finding("MR314", "", f"{shown} is not a model of OpenVINO", "build or copy it again")
    elif not is_file(path.with_suffix(".bin")):
        yield model.finding("MR314", "", f"{shown} has no {path.stem}.bin beside it", "copy that file too")


def _is_net(path: Path) -> bool:
    """Whether it parses to its end, without keeping what it says."""
    outermost = ""
    try:
        for event, element in iterparse(path, events=("start", "end")):
            outermost = outermost or element.tag
            if event == "end":
                element.clear()
    except ParseError:
        return False
    return outermost == "net"
