"""MR8xx: labels, parameters, caches, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any

from ai102.lint.backends import served
from ai102.lint.finding import Code, Finding
from ai102.lint.model import Model, Repository
from ai102.lint.paths import exists, is_file
from ai102.lint.tree import Message, Scalar, ScalarValue

CODES: tuple[Code, ...] = (
    Code(
        "MR801",
        "warning",
        "key written twice in a map",
        "In parameters, input_map and the other maps the last entry of a key wins and the server says nothing: the "
        "first one is lost. Keep one.",
    ),
    Code(
        "MR802",
        "error",
        "label file missing",
        "label_filename is a path inside the model's folder, beside the config, one label a line. Triton reads it at "
        "load and refuses the model when it is not there.",
    ),
    Code(
        "MR803",
        "warning",
        "fewer labels than values",
        "Line n of a label file names value n of the output. Values past the last line are answered without a label, "
        "so that a client asking for classes gets numbers alone for them.",
    ),
    Code(
        "MR804",
        "error",
        "response cache where it cannot be",
        "Triton caches one response for one request. It refuses response_cache on a decoupled model, which gives any "
        "number of responses, and with sequence_batching, where a response depends on earlier requests.",
    ),
    Code(
        "MR805",
        "error",
        "metric that is not whole",
        "A metric_control names a metric_identifier.family and histogram_options.buckets; Triton refuses one without.",
    ),
    Code(
        "MR806",
        "error",
        "parameter that the Python backend cannot read",
        'FORCE_CPU_ONLY_INPUT_TENSORS is "yes" or "no"; the Python backend refuses any other value, true and false '
        "too.",
    ),
    Code(
        "MR807",
        "error",
        "environment of Python missing",
        "EXECUTION_ENV_PATH names the packed environment, or the unpacked folder, in which the Python code runs. "
        "Where it does not exist the model does not load. It is looked for on this machine: with --no-files it is "
        "not.",
    ),
    Code(
        "MR808",
        "error",
        "metric tag that is no label of Prometheus",
        "metric_tags become labels of every metric of the model, and Prometheus takes names of letters, digits and "
        "underscores only. Triton ends, with all its models, when it loads a model with another name.",
    ),
)

# As the server checks it, which lets a digit stand in front.
LABEL_NAME = re.compile("[A-Za-z0-9_]+")
MODEL_FOLDER = "$$TRITON_MODEL_DIRECTORY/"


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    yield from _keys(model, model.tree, "")
    config = model.config
    if config is None:
        return
    if repository.check_files:
        for place, output in enumerate(config.output):
            if output.label_filename:
                yield from _labels(model, f"output[{place}].label_filename", output)
    if config.response_cache.enable:
        for is_so, what in (
            (config.HasField("sequence_batching"), "sequence_batching"),
            (config.model_transaction_policy.decoupled, "a decoupled model"),
        ):
            if is_so:
                message = f"response_cache does not go with {what}"
                yield model.finding("MR804", "response_cache", message, "leave response_cache out")
    yield from _metrics(model, config)
    for tag in config.metric_tags:
        if tag and not LABEL_NAME.fullmatch(tag):
            advice = "write letters, digits and underscores only"
            yield model.finding("MR808", f'metric_tags["{tag}"]', f"Prometheus takes no label {tag!r}", advice)
    if served(model).backend == "python":
        yield from _python(model, {key: value.string_value for key, value in config.parameters.items()}, repository)


def _keys(model: Model, message: Message, path: str) -> Iterator[Finding]:
    """Entries of maps are the messages whose only fields are key and value."""
    seen: dict[tuple[str, ScalarValue], int] = {}
    for field in message.fields:
        if not isinstance(field.value, Message):
            continue
        key = field.value.find("key")
        if (
            key is not None
            and isinstance(key.value, Scalar)
            and {"key", "value"} >= {f.name for f in field.value.fields}
        ):
            entry = (field.name, key.value.value)
            if entry in seen:
                said = f"{path}{field.name} has the key {key.value.value!r} twice"
                yield model.finding("MR801", key.at, said, f"keep one of them; line {seen[entry]} has the other")
            seen.setdefault(entry, field.at.line)
        yield from _keys(model, field.value, f"{path}{field.name}.")


def _labels(model: Model, where: str, output: Any) -> Iterator[Finding]:
    file = model.inside(output.label_filename)
    if not is_file(file):
        message = f"the label file {output.label_filename} is missing"
        yield model.finding("MR802", where, message, "put it beside config.pbtxt, or leave label_filename out")
        return
    labels = file.read_bytes().count(b"\n") + (not file.read_bytes().endswith(b"\n"))
    if -1 not in output.dims and labels < prod(output.dims):
        message = f"{output.label_filename} has {labels} labels and {output.name!r} has {prod(output.dims)} values"
        yield model.finding("MR803", where, message, "write one label a line, one for each value")


def _metrics(model: Model, config: Any) -> Iterator[Finding]:
    for place, control in enumerate(config.model_metrics.metric_control):
        where = f"model_metrics.metric_control[{place}]"
        if not control.metric_identifier.family:
            yield model.finding("MR805", where, "a metric has no family", "write metric_identifier { family: ... }")
        if not control.histogram_options.buckets:
            yield model.finding(
                "MR805", where, "a histogram has no buckets", "write histogram_options { buckets: ... }"
            )


def _python(model: Model, parameters: dict[str, str], repository: Repository) -> Iterator[Finding]:
    forced = parameters.get("FORCE_CPU_ONLY_INPUT_TENSORS", "yes")
    if forced not in ("yes", "no"):
        where = 'parameters["FORCE_CPU_ONLY_INPUT_TENSORS"]'
        message = f"FORCE_CPU_ONLY_INPUT_TENSORS is {forced!r}"
        yield model.finding("MR806", where, message, 'write "yes" or "no"')
    environment = parameters.get("EXECUTION_ENV_PATH", "")
    path = model.folder / environment.removeprefix(MODEL_FOLDER)  # stays as it is when absolute
    if repository.check_files and environment and not exists(path):
        where = 'parameters["EXECUTION_ENV_PATH"]'
        message = f"EXECUTION_ENV_PATH names {environment}, which is missing"
        yield model.finding("MR807", where, message, "put it there, or correct the path")
