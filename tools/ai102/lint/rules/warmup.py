"""MR6xx: the requests that a model answers before it counts as ready."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import served
from ai102.lint.data_types import BYTES, type_name
from ai102.lint.dims import may_be_equal, shown
from ai102.lint.finding import Code, Finding, Fix
from ai102.lint.interface import Interface, IOTensor, interface
from ai102.lint.model import Model, Repository
from ai102.lint.paths import is_file

CODES: tuple[Code, ...] = (
    Code(
        "MR601",
        "error",
        "warm-up of an open size",
        "A warm-up is a real request, so each of its dims is a size. Triton refuses -1 there: write one sample for "
        "each size worth warming up.",
    ),
    Code(
        "MR602",
        "error",
        "warm-up without values",
        "Each input of a warm-up has one of zero_data, random_data and input_data_file; Triton refuses one without.",
    ),
    Code(
        "MR603",
        "error",
        "warm-up file missing or short",
        "input_data_file is a file in the folder warmup of the model, with the raw bytes of one sample. Triton reads "
        "it at load and refuses the model when it is not there or ends early.",
    ),
    Code(
        "MR604",
        "error",
        "warm-up that no request could be",
        "Triton checks a warm-up as it checks a request: every input that is not optional, with the data type and the "
        "dims of the config, without the batch. ONNX Runtime also refuses an input that the network does not have. A "
        "failed warm-up is a failed load.",
    ),
    Code(
        "MR605",
        "warning",
        "warm-up of an unknown input",
        "An input of a warm-up that is neither one of the model's nor a control of the sequence batcher is handed to "
        "the model's code all the same, as no request can: what is warmed up is not what will run.",
    ),
    Code(
        "MR606",
        "warning",
        "warm-up that is skipped",
        "batch_size is 0 when it is left out, and Triton skips such a sample without a word: the first requests are "
        "slow as if there were no warm-up.",
    ),
    Code(
        "MR607",
        "error",
        "warm-up larger than a batch",
        "The warm-up runs batch_size samples at once, and the backends refuse more than max_batch_size (1 where that "
        "is 0), by an error or by ending the server.",
    ),
)


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None or config.HasField("ensemble_scheduling"):
        return
    known = interface(model, repository)
    controls = {tensor.name for tensor in config.sequence_batching.control_input}
    reported: set[str] = set()
    for place, sample in enumerate(config.model_warmup):
        where = f"model_warmup[{place}]"
        if sample.batch_size == 0:
            message = f"the warm-up {sample.name!r} has no batch_size, so it is skipped"
            yield model.finding("MR606", where, message, "write batch_size: 1", _batch_size_fix(model, where))
            continue
        if sample.batch_size > max(config.max_batch_size, 1):
            message = (
                f"the warm-up {sample.name!r} is of {sample.batch_size}, max_batch_size is {config.max_batch_size}"
            )
            yield model.finding("MR607", f"{where}.batch_size", message, "write a batch that requests can make")
        for key in sample.inputs:
            yield from _input(model, f'{where}.inputs["{key}"]', key, sample.inputs[key], repository, reported)
        if known is not None:
            unknown = "MR604" if served(model).backend == "onnxruntime" else "MR605"
            yield from _likeness(model, where, sample, known, controls, unknown)


def _batch_size_fix(model: Model, where: str) -> Fix | None:
    """Writes the size over a 0, or in front of the first field."""
    written = model.tree.find(f"{where}.batch_size")
    if written is not None:
        return Fix(written.value.at.start, written.value.at.end, "1")
    sample = model.tree.find(where)
    fields = getattr(sample.value, "fields", ()) if sample is not None else ()
    return Fix(fields[0].at.start, fields[0].at.start, "batch_size: 1 ") if fields else None


def _input(
    model: Model, where: str, name: str, given: pb.ModelWarmup.Input, repository: Repository, reported: set[str]
) -> Iterator[Finding]:
    source = given.WhichOneof("input_data_type")
    if any(dim < 0 for dim in given.dims):
        message = f"the warm-up of {name!r} has dims {shown(given.dims)}"
        yield model.finding("MR601", f"{where}.value.dims", message, "write a size for each dimension")
    elif source is None:
        message = f"the warm-up of {name!r} has no values"
        yield model.finding("MR602", where, message, "write zero_data: true, random_data: true or input_data_file")
    elif source == "input_data_file" and repository.check_files:
        file = model.inside("warmup", given.input_data_file)
        size = prod(given.dims) * BYTES.get(given.data_type, 0)
        if (not is_file(file) or file.stat().st_size < size) and given.input_data_file not in reported:
            reported.add(given.input_data_file)
            has = f"has {file.stat().st_size} bytes of {size}" if is_file(file) else "is missing"
            message = f"warmup/{given.input_data_file} {has}"
            advice = "write the raw bytes of one sample there"
            yield model.finding("MR603", f"{where}.value.input_data_file", message, advice)


def _likeness(
    model: Model, where: str, sample: Any, known: Interface, controls: set[str], unknown: str
) -> Iterator[Finding]:
    for key, given in sample.inputs.items():
        here = f'{where}.inputs["{key}"]'
        if key in known.inputs:
            yield from _agreement(model, here, given, known.inputs[key])
        elif known.is_whole and key not in controls:
            advice = f"write one of {', '.join(known.inputs)}"
            yield model.finding(unknown, here, f"the warm-up gives {key!r}, which is no input", advice)
    for name, tensor in known.inputs.items():
        if name not in sample.inputs and not tensor.is_optional:
            message = f"the warm-up {sample.name!r} leaves out the input {name!r}"
            yield model.finding("MR604", where, message, "give every input")


def _agreement(model: Model, where: str, given: Any, tensor: IOTensor) -> Iterator[Finding]:
    if given.data_type != tensor.data_type:
        message = f"{tensor.name!r} is {type_name(tensor.data_type)}, its warm-up {type_name(given.data_type)}"
        advice = f"write data_type: {type_name(tensor.data_type)}"
        yield model.finding("MR604", f"{where}.value.data_type", message, advice)
    if min(given.dims, default=0) >= 0 and not may_be_equal(given.dims, tensor.dims):
        message = f"{tensor.name!r} has dims {shown(tensor.dims)}, its warm-up {shown(given.dims)}"
        yield model.finding(
            "MR604", f"{where}.value.dims", message, "write dims that the input takes, without the batch"
        )
