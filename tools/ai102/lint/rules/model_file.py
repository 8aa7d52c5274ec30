"""MR3xx: the config against the model file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import served
from ai102.lint.data_types import type_name
from ai102.lint.dims import shown
from ai102.lint.finding import Code, Finding, Fix
from ai102.lint.model import Model, Repository
from ai102.lint.onnx_file import OnnxTensor, Signature, signature_from_onnx
from ai102.lint.paths import exists, is_file
from ai102.lint.rules import python_code
from ai102.lint.tree import Scalar

CODES: tuple[Code, ...] = (
    Code(
        "MR301",
        "error",
        "model file that is none",
        "The file does not parse as an ONNX model: it is empty, cut short, or a pointer of Git LFS in its place. "
        "Build or copy it again.",
    ),
    Code(
        "MR302",
        "error",
        "tensor that the model file does not have",
        "The inputs and outputs of a config have the names of the ONNX graph's. The ONNX Runtime backend refuses "
        "others at load.",
    ),
    Code(
        "MR303",
        "error",
        "input of the model file left out",
        "Every input of the ONNX graph that has no default value is an input of the config, or a control of the "
        "sequence batcher; the backend refuses a config without. Outputs may be left out.",
    ),
    Code(
        "MR304",
        "error",
        "data type unlike the model file's",
        "Triton converts nothing: data_type is that of the ONNX graph, TYPE_STRING for its strings.",
    ),
    Code(
        "MR305",
        "error",
        "dims unlike the model file's",
        "dims (or reshape.shape, where there is one) are the dimensions of the ONNX graph, without the first one "
        "where max_batch_size is above 0. An input may fix what is free in the graph, an output is written as it is.",
    ),
    Code(
        "MR306",
        "error",
        "batch that the model file cannot take",
        "max_batch_size above 0 needs a free first dimension in every input and output of the ONNX graph. Export "
        "with a dynamic batch, or write max_batch_size: 0 and the first dimension into dims.",
    ),
    Code(
        "MR307",
        "error",
        "optional unlike the model file",
        "optional: true is for an input that has a default in the ONNX graph, and for no other; and the ONNX Runtime "
        "backend knows optional inputs only where max_batch_size is 0.",
    ),
    Code(
        "MR308",
        "error",
        "parameter that ONNX Runtime cannot read",
        "intra_op_thread_count, inter_op_thread_count and execution_mode are whole numbers (the last 0 or 1), "
        "enable_mem_arena and enable_mem_pattern true or false. The backend refuses others at load.",
    ),
    Code(
        "MR309",
        "error",
        "config unlike the plan",
        "A TensorRT plan takes the batches and sizes of its optimization profile and no others. They stand in the "
        "manifest beside the plan (model.plan.made.json); the config must stay inside. Build the plan again or "
        "change the config.",
    ),
    *python_code.CODES,
)

NUMBERS = ("intra_op_thread_count", "inter_op_thread_count", "execution_mode")
TRUTHS = ("enable_mem_arena", "enable_mem_pattern")


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    _, backend, file = served(model)
    if backend == "python" and repository.check_files:
        yield from python_code.check(model, file)
    config = model.config
    if config is None:
        return
    if backend == "onnxruntime":
        yield from _parameters(model, config)
    if not repository.check_files:
        return
    for version in model.loaded_versions:
        path = model.file(version, file)
        if backend == "onnxruntime" and exists(path):
            yield from _onnx(model, config, path, signature_from_onnx(path))
        if backend == "openvino" and file.endswith(".onnx") and exists(path) and not _is_reshaped(config):
            yield from _onnx(model, config, path, _without_defaults(signature_from_onnx(path)))
        if backend == "tensorrt":
            for plan in set(config.cc_model_filenames.values()) or {file}:
                yield from _plan(model, config, model.file(version, f"{plan}.made.json"))


def _parameters(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    for key in (*NUMBERS, *TRUTHS):
        if key not in config.parameters:
            continue
        value = config.parameters[key].string_value.strip()
        is_number = value.removeprefix("-").isdecimal() and (key != "execution_mode" or value in ("0", "1"))
        if not (is_number if key in NUMBERS else value.lower() in ("true", "false", "0", "1")):
            expected = "a whole number" if key in NUMBERS[:2] else "0 or 1" if key in NUMBERS else "true or false"
            where = f'parameters["{key}"].value'
            yield model.finding("MR308", where, f"{key} is {value!r}", f'write string_value: "..." with {expected}')


def _is_reshaped(config: pb.ModelConfig) -> bool:
    key = "RESHAPE_IO_LAYERS"  # asking a map of protobuf for what it has not adds it
    return key in config.parameters and config.parameters[key].string_value.strip().upper() == "YES"


def _without_defaults(signature: Signature | None) -> Signature | None:
    """OpenVINO takes a default as a constant: no request can send it."""
    return None if signature is None else replace(signature, defaults=())


def _onnx(model: Model, config: pb.ModelConfig, path: Path, signature: Signature | None) -> Iterator[Finding]:
    if signature is None:
        shown_path = path.relative_to(model.folder).as_posix()
        yield model.finding("MR301", "", f"{shown_path} is not a whole ONNX file", "build or copy it again")
        return
    controls = {control.name for control in config.sequence_batching.control_input}
    defaults = {tensor.name for tensor in signature.defaults}
    inputs = {tensor.name: tensor for tensor in (*signature.inputs, *signature.defaults)}
    outputs = {tensor.name: tensor for tensor in signature.outputs}
    if config.max_batch_size > 0 and (fixed := _fixed(config, signature)) is not None:
        message = (
            f"max_batch_size is {config.max_batch_size} and {fixed.name!r} is {shown(fixed.dims or ())} in the file"
        )
        advice = "write max_batch_size: 0 with the whole shape in dims, or export with a dynamic batch"
        yield model.finding("MR306", "max_batch_size", message, advice)
        return
    for kind, known in (("input", inputs), ("output", outputs)):
        for place, tensor in enumerate(getattr(config, kind)):
            where = f"{kind}[{place}]"
            if tensor.name in known:
                yield from _tensor(model, where, tensor, known[tensor.name], config.max_batch_size)
            elif tensor.name:
                message = f"the file has no {kind} {tensor.name!r}"
                yield model.finding("MR302", f"{where}.name", message, f"it has {', '.join(known)}")
    for place, tensor in enumerate(config.input):
        yield from _optional(model, f"input[{place}]", tensor, tensor.name in defaults, config.max_batch_size)
    given = {tensor.name for tensor in config.input} | controls
    for tensor in signature.inputs if config.input else ():
        if tensor.name not in given:
            message = f"the file's input {tensor.name!r} is not in the config"
            yield model.finding("MR303", "input[0]", message, f"add it: {type_name(tensor.data_type)}")


def _fixed(config: pb.ModelConfig, signature: Signature) -> OnnxTensor | None:
    """The first tensor that is used and has a first dimension of one size only."""
    used = {tensor.name for tensor in (*config.input, *config.output)}
    is_completed = not config.input or not config.output
    tensors = (*signature.inputs, *signature.outputs)
    return next((t for t in tensors if (is_completed or t.name in used) and not t.can_batch), None)


def _tensor(model: Model, where: str, tensor: Any, known: OnnxTensor, max_batch_size: int) -> Iterator[Finding]:
    kind = where.partition("[")[0]
    if tensor.data_type and tensor.data_type != known.data_type:
        said, right = type_name(tensor.data_type), type_name(known.data_type)
        message = f"{kind} {tensor.name!r} is {said} in the config and {right} in the file"
        fix = _fix(model, f"{where}.data_type", right)
        yield model.finding("MR304", f"{where}.data_type", message, f"write data_type: {right}", fix)
    if known.dims is None or not tensor.dims:
        return
    written = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    dims = [-1, *written] if max_batch_size > 0 else written
    if not _agrees(dims, known.dims, is_exact=kind == "output"):
        right_dims = (known.dims[1:] if max_batch_size > 0 else known.dims) or (1,)
        field = "reshape" if tensor.HasField("reshape") else "dims"
        batch = ", the batch in front" if max_batch_size > 0 else ""
        message = f"{kind} {tensor.name!r} is {shown(dims)} in the config{batch}, and {shown(known.dims)} in the file"
        right = f"dims: {shown(right_dims)}"
        fix = model.list_fix(f"{where}.dims", len(written), right) if field == "dims" else None
        yield model.finding("MR305", f"{where}.{field}", message, f"write {right}", fix)


def _agrees(dims: list[int], known: tuple[int, ...], *, is_exact: bool) -> bool:
    if not known:
        return all(dim == 1 for dim in dims)
    return len(dims) == len(known) and all(
        size == other or (other == -1 and not is_exact) for size, other in zip(dims, known, strict=True)
    )


def _optional(model: Model, where: str, tensor: Any, has_default: bool, max_batch_size: int) -> Iterator[Finding]:
    if tensor.optional and max_batch_size > 0:
        message = f"{tensor.name!r} is optional and max_batch_size is {max_batch_size}"
        yield model.finding("MR307", f"{where}.optional", message, "leave optional out, or write max_batch_size: 0")
    elif tensor.optional != has_default:
        said = "has a default in the file and is not optional" if has_default else "has no default in the file"
        advice = "write optional: true" if has_default else "leave optional out"
        yield model.finding("MR307", f"{where}.optional", f"{tensor.name!r} {said}", advice)


def _fix(model: Model, where: str, text: str) -> Fix | None:
    field = model.tree.find(where)
    return Fix(field.value.at.start, field.value.at.end, text) if field and isinstance(field.value, Scalar) else None


def _profiles(manifest: Path) -> dict[str, dict[str, list[int]]]:
    """None of them where the manifest is not one of ours."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return {
            name: {key: [int(size) for size in sizes[key]] for key in ("least", "most")}
            for name, sizes in content["profiles"].items()
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _plan(model: Model, config: pb.ModelConfig, manifest: Path) -> Iterator[Finding]:
    if not is_file(manifest):
        return
    profiles = _profiles(manifest)
    named = {tensor.name: place for place, tensor in enumerate(config.input)}
    for name in sorted(profiles.keys() - named.keys() if named else ()):
        message = f"the plan takes {name!r}, which is not in the config"
        yield model.finding("MR309", "input[0]", message, f"the plan takes {', '.join(profiles)}")
    for name, place in named.items():
        if name not in profiles:
            message = f"the plan does not take {name!r}"
            yield model.finding("MR309", f"input[{place}].name", message, f"it takes {', '.join(profiles)}")
            continue
        most, dims = profiles[name]["most"], list(config.input[place].dims)
        batched = config.max_batch_size > 0
        sizes = most[1:] if batched else most
        if batched and config.max_batch_size > most[0]:
            message = f"max_batch_size is {config.max_batch_size} and the plan takes batches of {most[0]} at most"
            yield model.finding("MR309", "max_batch_size", message, f"write max_batch_size: {most[0]}")
        if len(dims) != len(sizes) or any(
            dim != -1 and not low <= dim <= high
            for dim, low, high in zip(dims, profiles[name]["least"][1 if batched else 0 :], sizes, strict=True)
        ):
            message = f"{name!r} has dims {shown(dims)} and the plan takes {shown(sizes)} at most"
            yield model.finding("MR309", f"input[{place}].dims", message, "write dims inside the plan's profile")
