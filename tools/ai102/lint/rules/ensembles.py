"""MR5xx: an ensemble by itself; what its steps' models say of it: rules/ensemble_steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import ENSEMBLE
from ai102.lint.finding import Code, Finding, Fix
from ai102.lint.model import Model, Repository
from ai102.lint.rules import ensemble_steps

CODES: tuple[Code, ...] = (
    Code(
        "MR501",
        "error",
        "ensemble without a schedule, or a schedule without an ensemble",
        'platform: "ensemble" and ensemble_scheduling go together: each is refused without the other.',
    ),
    Code(
        "MR502",
        "error",
        "setting that an ensemble cannot have",
        "An ensemble runs nothing itself, so Triton refuses instance_group, optimization and model_warmup on it. "
        "Write them in the models of its steps.",
    ),
    Code(
        "MR503",
        "error",
        "step that is not whole",
        "An ensemble has at least one step, and each step a model_name, an input_map and an output_map.",
    ),
    Code(
        "MR504",
        "error",
        "tensor written twice",
        "Each tensor of an ensemble comes from one output of one step. Triton refuses a second one that writes it; "
        "give the second another name in its output_map.",
    ),
    Code(
        "MR505",
        "error",
        "input or output of the ensemble in no step",
        "Every input of an ensemble feeds a step and every output is written by one, under the name in the *value* "
        "of input_map or output_map (the key is the name inside the step's model).",
    ),
    Code(
        "MR506",
        "error",
        "tensor that nothing writes",
        "A step runs when all its inputs are there: inputs of the ensemble or outputs of other steps. Triton refuses "
        "an ensemble with a tensor that never comes to be, because nothing writes it or because steps wait for each "
        "other in a circle.",
    ),
    Code(
        "MR507",
        "error",
        "tensor that nothing reads",
        "A step writes a tensor that is neither an output of the ensemble nor an input of another step. Triton "
        "refuses it: take it out of the output_map, which need not list every output of the model.",
    ),
    *ensemble_steps.CODES,
)


class Flow(NamedTuple):
    """`sources` holds for each tensor that a step writes the tensors this step reads."""

    sources: dict[str, list[str]]
    where: dict[str, str]  # the first map entry that names the tensor
    read: set[str]


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    config = model.config
    if config is None:
        return
    is_scheduled, is_ensemble = config.HasField("ensemble_scheduling"), config.platform == ENSEMBLE
    if is_scheduled != is_ensemble:
        message = "platform is ensemble and there is no ensemble_scheduling"
        if is_scheduled:
            message = f"ensemble_scheduling is set and platform is {config.platform!r}"
        advice = 'write platform: "ensemble" with ensemble_scheduling, or neither'
        yield model.finding("MR501", "ensemble_scheduling" if is_scheduled else "platform", message, advice)
    if not is_scheduled:
        return
    yield from _foreign_settings(model, config)
    is_whole = True
    for finding in _steps(model, config):
        is_whole = False
        yield finding
    if is_whole:
        yield from _flow(model, config)
        yield from ensemble_steps.check(model, repository)


def _foreign_settings(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    for name, is_set in (
        ("instance_group", bool(config.instance_group)),
        ("optimization", config.HasField("optimization")),
        ("model_warmup", bool(config.model_warmup)),
    ):
        places = dict.fromkeys(field.whole for field in model.tree.all(name))
        for place in places if is_set else ():
            fix = Fix(place.start, place.end, "")
            yield model.finding("MR502", place, f"an ensemble has no {name}", "take it out", fix)


def _steps(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    if not config.ensemble_scheduling.step:
        yield model.finding("MR503", "ensemble_scheduling", "the ensemble has no step", "write its steps")
    for place, step in enumerate(config.ensemble_scheduling.step):
        for field in ("model_name", "input_map", "output_map"):
            if not getattr(step, field):
                where = f"ensemble_scheduling.step[{place}]"
                yield model.finding("MR503", where, f"step {place + 1} has no {field}", f"write its {field}")


def _flow(model: Model, config: pb.ModelConfig) -> Iterator[Finding]:
    flow = Flow({}, {}, set())
    for place, step in enumerate(config.ensemble_scheduling.step):
        where = f"ensemble_scheduling.step[{place}]"
        for key, tensor in step.output_map.items():
            if tensor in flow.sources:
                message = f"the tensor {tensor!r} is written by two outputs"
                advice = "give one of them another name in its output_map"
                yield model.finding("MR504", f'{where}.output_map["{key}"]', message, advice)
            flow.sources.setdefault(tensor, []).extend(step.input_map.values())
            flow.where.setdefault(tensor, f'{where}.output_map["{key}"]')
        for key, tensor in step.input_map.items():
            flow.where.setdefault(tensor, f'{where}.input_map["{key}"]')
            flow.read.add(tensor)
    yield from _ends(model, config, flow)
    yield from _tensors(model, config, flow)


def _ends(model: Model, config: pb.ModelConfig, flow: Flow) -> Iterator[Finding]:
    for kind in ("input", "output"):
        for place, tensor in enumerate(getattr(config, kind)):
            if tensor.name not in flow.where:
                known = ", ".join(sorted(flow.where))
                message = f"no step names the {kind} {tensor.name!r}"
                yield model.finding("MR505", f"{kind}[{place}].name", message, f"the steps have {known}")


def _tensors(model: Model, config: pb.ModelConfig, flow: Flow) -> Iterator[Finding]:
    there = _reached(flow, {tensor.name for tensor in config.input})
    outputs = {tensor.name for tensor in config.output}
    missing = [tensor for tensor in flow.where if tensor not in there]
    # What is missing only because something before it is missing is not reported again, save in a circle.
    first = [t for t in missing if not any(before in missing for before in flow.sources.get(t, ()))] or missing
    for tensor in first:
        in_circle = f"waits for itself: it is computed from {', '.join(flow.sources.get(tensor, ()))}"
        said = in_circle if tensor in flow.sources else "is read and nothing writes it"
        advice = "write it in the output_map of an earlier step, or make it an input of the ensemble"
        yield model.finding("MR506", flow.where[tensor], f"the tensor {tensor!r} {said}", advice)
    for tensor, where in flow.where.items():
        if tensor in flow.sources and tensor not in flow.read | outputs:
            advice = "take it out of the output_map, or make it an output of the ensemble"
            yield model.finding("MR507", where, f"nothing reads the tensor {tensor!r}", advice)


def _reached(flow: Flow, there: set[str]) -> set[str]:
    """The tensors that come to be from those that are there at first."""
    reached = {tensor for tensor in there if tensor in flow.where}
    while new := {
        tensor
        for tensor, before in flow.sources.items()
        if tensor not in reached and all(other in reached for other in before)
    }:
        reached |= new
    return reached
