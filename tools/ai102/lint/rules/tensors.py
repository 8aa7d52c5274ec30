"""MR2xx: the inputs and outputs of a config, each for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import served
from ai102.lint.data_types import type_name
from ai102.lint.dims import can_be_reshaped, is_dim, shown
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository

CODES: tuple[Code, ...] = (
    Code(
        "MR201",
        "error",
        "tensor without a name",
        "Requests name the tensors they send and ask for, so Triton refuses a model with an input or output that "
        "has no name. Write the name that the model file or the Python code uses.",
    ),
    Code(
        "MR202",
        "error",
        "tensor without a data type",
        "An input or output without data_type, or with TYPE_INVALID, is refused at load: neither the size of a "
        "request nor its check is defined. Only the TensorRT and TensorFlow backends read it from their file.",
    ),
    Code(
        "MR203",
        "error",
        "tensor without dims",
        "Triton has no tensor without dimensions and refuses one whose dims are empty or left out. A single value "
        "is dims: [ 1 ]; where the network itself takes a scalar, add reshape { shape: [ ] }. The batch of "
        "max_batch_size is not written.",
    ),
    Code(
        "MR204",
        "error",
        "dimension that is no size",
        "Each of dims is a size of at least 1, or -1 for any size. Triton refuses 0 and other negative numbers.",
    ),
    Code(
        "MR205",
        "error",
        "reshape to a dimension that is no size",
        "Each number in reshape.shape is a size of at least 1, or -1 for a free one; Triton refuses the others.",
    ),
    Code(
        "MR206",
        "error",
        "reshape to another number of elements",
        "A reshape keeps every element: dims and shape must have the same product, and where some are -1, the same "
        "number of them with equal products before, between and after. [ 2, 4, -1 ] may become [ 8, -1 ].",
    ),
    Code(
        "MR207",
        "error",
        "scalar without a batch",
        "reshape { shape: [ ] } leaves the batch as the only dimension; with max_batch_size 0 nothing is left, and "
        "Triton refuses tensors without dimensions. Leave the reshape out or let the model batch.",
    ),
    Code(
        "MR208",
        "error",
        "image format without three dims",
        "FORMAT_NHWC and FORMAT_NCHW say which of three dims is the channel, without the batch. Triton refuses "
        "them on an input of another rank. Most backends do not need a format: leave it out.",
    ),
    Code(
        "MR209",
        "error",
        "setting of TensorRT on another backend",
        "is_shape_tensor and is_non_linear_format_io describe inputs and outputs of TensorRT plans; Triton refuses "
        "them on every other platform, and a non-linear format on a tensor that has not three dims.",
    ),
    Code(
        "MR210",
        "warning",
        "two tensors of one name",
        "Triton loads the model and keeps one of the two, but counts both as required: every request is then "
        "refused for a missing input, or an output can never be asked for. Give each tensor its own name.",
    ),
    Code(
        "MR211",
        "error",
        "negative batch size",
        "max_batch_size is the most requests that run together; 0 says that the model has no batch dimension. "
        "Triton refuses a negative one.",
    ),
    Code(
        "MR212",
        "error",
        "batch_input or batch_output that does not hold together",
        "A batch_input or batch_output is computed from exactly one source_input, which must be an input of this "
        "config; a batch_input is TYPE_INT32 or TYPE_FP32; each target_name of a batch_output is one output, "
        "once. Triton refuses the model otherwise, and 2.51 ends when a batch_output has no target_name.",
    ),
)

# These read from their file what the config leaves out of a tensor.
COMPLETED_BY_BACKEND = ("tensorrt", "tensorflow")


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None:
        return
    if config.max_batch_size < 0:
        said = f"max_batch_size is {config.max_batch_size}"
        yield model.finding("MR211", "max_batch_size", said, "write 0 for no batching, or the largest batch")
    platform, backend, _ = served(model)
    for kind in ("input", "output"):
        tensors = getattr(config, kind)
        for place, tensor in enumerate(tensors):
            where = f"{kind}[{place}]"
            yield from _shape(model, where, tensor, config.max_batch_size, backend in COMPLETED_BY_BACKEND)
            yield from _platform(model, where, tensor, platform)
        yield from _names(model, kind, [tensor.name for tensor in tensors])
    yield from _batch_tensors(model, config)


def _shape(model: Model, where: str, tensor: Any, max_batch_size: int, is_completed: bool) -> Iterator[Finding]:
    said = f"{where.partition('[')[0]} {tensor.name!r}" if tensor.name else where
    if not tensor.name:
        yield model.finding("MR201", where, f"{said} has no name", "write its name")
    if tensor.data_type == pb.TYPE_INVALID and not is_completed:
        yield model.finding(
            "MR202", f"{where}.data_type", f"{said} has no data type", "write data_type: TYPE_FP32 or so"
        )
    if not tensor.dims and not is_completed:
        advice = "write dims without the batch, [ 1 ] for a single value"
        yield model.finding("MR203", f"{where}.dims", f"{said} has no dims", advice)
    for place, dim in enumerate(tensor.dims):
        if not is_dim(dim):
            advice = "write a size of at least 1, or -1 for any size"
            yield model.finding("MR204", f"{where}.dims[{place}]", f"{said} has the dimension {dim}", advice)
    if tensor.HasField("reshape"):
        yield from _reshape(model, where, said, tensor, max_batch_size)


def _reshape(model: Model, where: str, said: str, tensor: Any, max_batch_size: int) -> Iterator[Finding]:
    dims, shape = list(tensor.dims), list(tensor.reshape.shape)
    wrong = [(place, dim) for place, dim in enumerate(shape) if not is_dim(dim)]
    for place, dim in wrong:
        advice = "write a size of at least 1, or -1 for a free one"
        yield model.finding("MR205", f"{where}.reshape.shape[{place}]", f"{said} is reshaped to {dim}", advice)
    if not shape and max_batch_size == 0:
        message = f"{said} is reshaped to no dimensions and max_batch_size is 0: nothing is left of it"
        yield model.finding("MR207", f"{where}.reshape", message, "leave the reshape out, or set max_batch_size")
    elif not wrong and dims and all(map(is_dim, dims)) and not can_be_reshaped(dims, shape):
        message = f"{said} cannot go from dims {shown(dims)} to shape {shown(shape)}"
        yield model.finding("MR206", f"{where}.reshape", message, "write a shape with as many elements as dims")


def _platform(model: Model, where: str, tensor: Any, platform: str) -> Iterator[Finding]:
    is_plan = platform == "tensorrt_plan"
    is_image = where.startswith("input") and tensor.format in (pb.ModelInput.FORMAT_NHWC, pb.ModelInput.FORMAT_NCHW)
    if is_image and len(tensor.dims) != 3:
        named = pb.ModelInput.Format.Name(tensor.format)
        message = f"{tensor.name!r} has {len(tensor.dims)} dims and the format {named}, which is of three"
        yield model.finding(
            "MR208", f"{where}.format", message, "leave format out, or write three dims without the batch"
        )
    if tensor.is_shape_tensor and not is_plan:
        message = f"{tensor.name!r} is a shape tensor, which only TensorRT plans have"
        yield model.finding("MR209", f"{where}.is_shape_tensor", message, "leave is_shape_tensor out")
    if tensor.is_non_linear_format_io and (not is_plan or len(tensor.dims) != 3):
        message = f"{tensor.name!r} has a non-linear format, which only TensorRT plans have, with three dims"
        yield model.finding("MR209", f"{where}.is_non_linear_format_io", message, "leave is_non_linear_format_io out")


def _names(model: Model, kind: str, names: list[str]) -> Iterator[Finding]:
    for name, times in Counter(names).items():
        if name and times > 1:
            last = len(names) - 1 - names[::-1].index(name)
            message = f"{times} {kind}s have the name {name!r}"
            yield model.finding("MR210", f"{kind}[{last}].name", message, "give each its own name")


def _batch_tensors(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for kind in ("batch_input", "batch_output"):
        for place, tensor in enumerate(getattr(config, kind)):
            where = f"{kind}[{place}]"
            if len(tensor.source_input) != 1:
                message = f"{kind} has {len(tensor.source_input)} source inputs"
                yield model.finding("MR212", f"{where}.source_input", message, "write one source_input")
            for source in tensor.source_input:
                if source not in inputs:
                    message = f"{kind} is computed from {source!r}, which is no input of this config"
                    yield model.finding("MR212", f"{where}.source_input", message, f"write one of {_listed(inputs)}")
            if kind == "batch_input" and tensor.data_type not in (pb.TYPE_INT32, pb.TYPE_FP32):
                message = f"batch_input has the data type {type_name(tensor.data_type)}"
                yield model.finding("MR212", f"{where}.data_type", message, "write TYPE_INT32 or TYPE_FP32")
            if kind == "batch_output":
                if not tensor.target_name:
                    yield model.finding(
                        "MR212", where, f"{kind} has no target_name", "write the output that it computes"
                    )
                for target, times in Counter(tensor.target_name).items():
                    if target not in outputs or times > 1:
                        message = f"batch_output writes {target!r}, which is no output of this config or is named twice"
                        advice = f"write each of {_listed(outputs)} at most once"
                        yield model.finding("MR212", f"{where}.target_name", message, advice)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "its tensors"
