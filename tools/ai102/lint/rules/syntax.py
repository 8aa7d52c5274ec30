"""MR0xx: a config.pbtxt that the server cannot read."""

from __future__ import annotations

from collections.abc import Iterator

from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository
from ai102.lint.tree import Message
from ai102.lint.triton_versions import SINCE, has_field

CODES: tuple[Code, ...] = (
    Code(
        "MR001",
        "error",
        "not protobuf text",
        "config.pbtxt is protobuf's text format: name: value, name { ... } or name: [ ..., ... ], with # for "
        "comments. Triton refuses the whole file at the first thing that is not, and says only that it failed to "
        "read it; here are the line and the column.",
    ),
    Code(
        "MR002",
        "error",
        "unknown field",
        "A single unknown field makes Triton refuse the whole config: nothing is passed over. The names are those of "
        "model_config.proto, in small letters with underscores.",
    ),
    Code(
        "MR003",
        "error",
        "wrong kind of value",
        'Texts stand in quotes, numbers, enum names, true and false do not: max_batch_size: 8, name: "x". Triton '
        "refuses the file otherwise.",
    ),
    Code(
        "MR004",
        "error",
        "unknown name of an enum",
        "Data types are written TYPE_FP32, TYPE_INT64, TYPE_STRING and so on, kinds KIND_CPU or KIND_GPU, formats "
        "FORMAT_NCHW: in capitals, with their prefix, without quotes. Triton refuses the file otherwise.",
    ),
    Code(
        "MR005",
        "error",
        "number out of range",
        "The number does not fit the field (32 or 64 bits, with or without a sign), and Triton refuses the file.",
    ),
    Code(
        "MR006",
        "error",
        "field written twice",
        "Only repeated fields, such as input, output and instance_group, may stand more than once. Of the others "
        "Triton takes neither: it refuses the file.",
    ),
    Code(
        "MR007",
        "error",
        "two fields that exclude each other",
        "One of dynamic_batching, sequence_batching and ensemble_scheduling; one of latest, all and specific; one of "
        "zero_data, random_data and input_data_file; one of direct and oldest. Triton refuses a file with two.",
    ),
    Code(
        "MR008",
        "error",
        "field of a later release",
        "The field exists, and the server given with --triton is older than it: to that server it is an unknown "
        "field, and the whole config is refused. Leave it out or update the server.",
    ),
)


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    for problem in model.problems:
        yield model.finding(problem.code, problem.at, problem.message, problem.advice, problem.fix)
    yield from _later_fields(model, model.tree, repository.triton)


def _later_fields(model: Model, message: Message, triton: str) -> Iterator[Finding]:
    for field in message.fields:
        if not has_field(triton, field.name):
            since = ".".join(map(str, SINCE[field.name]))
            message_text = f"{field.name} is read from tritonserver {since} on, and this is for {triton}"
            yield model.finding("MR008", field.at, message_text, "take it out, or update the server")
        if isinstance(field.value, Message):
            yield from _later_fields(model, field.value, triton)
