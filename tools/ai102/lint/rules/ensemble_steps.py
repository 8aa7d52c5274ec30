"""The part of MR5xx about an ensemble and the models of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.data_types import type_name
from ai102.lint.dims import may_be_equal, shown
from ai102.lint.finding import Code, Finding
from ai102.lint.interface import Interface, IOTensor, interface
from ai102.lint.model import Model, Repository

CODES: tuple[Code, ...] = (
    Code(
        "MR511",
        "error",
        "step of a model that is not there",
        "model_name is the name of a model folder of the same repository. Triton loads an ensemble only when the "
        "models of all its steps are loaded.",
    ),
    Code(
        "MR512",
        "error",
        "step of a version that is not loaded",
        "model_version is -1 for the newest version, or one that the model's own version policy loads.",
    ),
    Code(
        "MR513",
        "error",
        "tensor that the step's model does not have",
        "The keys of input_map and output_map are names of the step's model, the values names of the ensemble. "
        "Triton refuses a key that the model does not have.",
    ),
    Code(
        "MR514",
        "error",
        "input of a step left out",
        "Every input of a step's model, unless it is optional, is mapped to a tensor of the ensemble.",
    ),
    Code(
        "MR515",
        "error",
        "data types that disagree",
        "A tensor has one data type, in the output that writes it, in every input that reads it and in the ensemble. "
        "Triton converts nothing between steps.",
    ),
    Code(
        "MR516",
        "error",
        "dims that disagree",
        "A tensor has the same dims in the output that writes it and in every input that reads it; -1 agrees with "
        "every size. Between a model that batches and one that does not, the latter's dims have the batch in front.",
    ),
    Code(
        "MR517",
        "error",
        "batch larger than a step's",
        "Triton passes a batch on whole: the max_batch_size of an ensemble is at most the "
        "smallest of its steps that batch.",
    ),
    Code(
        "MR518",
        "error",
        "ensembles that need each other",
        "An ensemble is loaded after the models of its steps, so ensembles that call each other in a circle cannot be.",
    ),
    Code(
        "MR519",
        "error",
        "inputs from different decoupled models",
        "A decoupled model answers a request any number of times, so outputs of two of them, or of one and of what "
        "lies before it, cannot be paired. Triton refuses a step that reads both.",
    ),
    Code(
        "MR521",
        "error",
        "outputs from different decoupled models",
        "An ensemble answers once for each response of its decoupled model, with all its outputs. An output that does "
        "not stem from that model, or stems from another decoupled one, has no response to go with, and Triton refuses "
        "the ensemble. Let every output stem from the same decoupled model last.",
    ),
    Code(
        "MR520",
        "warning",
        "batches that a step does not take",
        "An ensemble that batches may have a step with max_batch_size 0 and the same dims: Triton loads it, answers "
        "requests of one, and refuses every larger one for its shape (seen on 2.51). Give the model a batch dimension, "
        "or the ensemble max_batch_size: 1.",
    ),
)


class Known(NamedTuple):
    """What was first learnt of a tensor of the ensemble; `dims` with the batch are those in full."""

    data_type: int
    dims: tuple[int, ...]
    full: tuple[int, ...]
    who: str


def check(model: Model, repository: Repository) -> Iterator[Finding]:
    assert model.config is not None
    config, known = model.config, _outer(model.config)
    models: list[Interface | None] = []
    for place, step in enumerate(config.ensemble_scheduling.step):
        where = f"ensemble_scheduling.step[{place}]"
        other = repository.models.get(step.model_name)
        if other is None:
            message = f"there is no model {step.model_name!r} in the repository"
            advice = f"it has {', '.join(name for name in repository.models if name != model.name)}"
            yield model.finding("MR511", f"{where}.model_name", message, advice)
        elif _reaches(repository, step.model_name, model.name):
            message = f"{step.model_name} needs {model.name} in its turn"
            yield model.finding("MR518", f"{where}.model_name", message, "break the circle")
            other = None
        step_interface = interface(other, repository) if other is not None else None
        models.append(step_interface)
        if other is not None:
            yield from _version(model, where, step, other, repository)
        if step_interface is not None:
            yield from _batch(model, where, step.model_name, step_interface, config.max_batch_size)
            yield from _maps(model, where, step, step_interface, known)
    yield from _decoupled(model, config, models)


def _outer(config: pb.ModelConfig) -> dict[str, Known]:
    known: dict[str, Known] = {}
    for tensor in (*config.input, *config.output):
        dims = tuple(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
        known.setdefault(tensor.name, _known(tensor.data_type, dims, config.max_batch_size, "the ensemble"))
    return known


def _known(data_type: int, dims: tuple[int, ...], max_batch_size: int, who: str) -> Known:
    return Known(data_type, dims, (-1, *dims) if max_batch_size > 0 else dims, who)


def _reaches(repository: Repository, name: str, target: str) -> bool:
    """Whether the ensemble `name` needs the model `target`."""
    seen, ahead = set[str](), [name]
    while ahead:
        here = ahead.pop()
        if here == target:
            return True
        config = repository.models[here].config if here in repository.models and here not in seen else None
        seen.add(here)
        if config is not None:
            ahead += [step.model_name for step in config.ensemble_scheduling.step]
    return False


def _version(
    model: Model, where: str, step: pb.ModelEnsembling.Step, other: Model, repository: Repository
) -> Iterator[Finding]:
    version = step.model_version
    if version != -1 and repository.check_files and version not in other.loaded_versions:
        loaded = ", ".join(map(str, other.loaded_versions)) or "none"
        message = f"version {version} of {other.name} is not loaded, only {loaded}"
        advice = "write model_version: -1 for the newest, or change that model's version_policy"
        yield model.finding("MR512", f"{where}.model_version", message, advice)


def _batch(model: Model, where: str, name: str, other: Interface, most: int) -> Iterator[Finding]:
    if 0 < other.max_batch_size < most:
        message = f"the ensemble takes batches of {most} and {name} only of {other.max_batch_size}"
        advice = f"write max_batch_size: {other.max_batch_size}"
        yield model.finding("MR517", f"{where}.model_name", message, advice)


def _maps(
    model: Model, where: str, step: pb.ModelEnsembling.Step, other: Interface, known: dict[str, Known]
) -> Iterator[Finding]:
    name = step.model_name
    for kind, entries, tensors in (
        ("input", step.input_map, other.inputs),
        ("output", step.output_map, other.outputs),
    ):
        for key in [key for key in entries if key not in tensors] if other.is_whole else ():
            message = f"{name} has no {kind} {key!r}"
            advice = f"it has {', '.join(tensors)}; the key is the model's name, the value the ensemble's"
            yield model.finding("MR513", f'{where}.{kind}_map["{key}"]', message, advice)
        for key, tensor in tensors.items():
            if key in entries:
                here = f'{where}.{kind}_map["{key}"]'
                yield from _agreement(model, here, entries[key], tensor, other.max_batch_size, name, known)
                if kind == "input" and other.max_batch_size == 0:
                    yield from _unbatched(model, here, known[entries[key]], tensor, name)
            elif kind == "input" and not tensor.is_optional:
                message = f"the input {key!r} of {name} is not in the input_map"
                yield model.finding("MR514", f"{where}.input_map", message, "map it to a tensor of the ensemble")


def _agreement(
    model: Model, where: str, name: str, tensor: IOTensor, max_batch_size: int, who: str, known: dict[str, Known]
) -> Iterator[Finding]:
    new = _known(tensor.data_type, tensor.dims, max_batch_size, who)
    old = known.setdefault(name, new)
    if old.data_type != new.data_type:
        message = f"{name!r} is {type_name(new.data_type)} in {who} and {type_name(old.data_type)} in {old.who}"
        yield model.finding("MR515", where, message, "make them one type, or put a step between that converts")
    if not may_be_equal(old.dims, new.dims) and not may_be_equal(old.full, new.full):
        message = f"{name!r} is {shown(new.full)} in {who} and {shown(old.full)} in {old.who}"
        if max_batch_size > 0:
            message += " (the batch included)"
        yield model.finding("MR516", where, message, "make the dims agree, or put a step between that converts")


def _unbatched(model: Model, where: str, given: Known, tensor: IOTensor, who: str) -> Iterator[Finding]:
    assert model.config is not None
    fits = may_be_equal(given.full, tensor.dims) or not may_be_equal(given.dims, tensor.dims)
    if model.config.max_batch_size > 1 and not fits:
        message = f"the ensemble takes batches of {model.config.max_batch_size} and {who} takes no batch"
        yield model.finding("MR520", where, message, f"give {who} a max_batch_size, or write max_batch_size: 1")


def _decoupled(model: Model, config: pb.ModelConfig, models: list[Interface | None]) -> Iterator[Finding]:
    """Every tensor carries the decoupled step that it stems from last; a step may read of one alone."""
    origin: dict[str, int] = {tensor.name: 0 for tensor in config.input}
    steps = list(enumerate(config.ensemble_scheduling.step))
    while ready := [(n, s) for n, s in steps if all(tensor in origin for tensor in s.input_map.values())]:
        for number, step in ready:
            sources = {origin[tensor] for tensor in step.input_map.values()}
            step_model = models[number]
            if len(sources) > 1:
                message = f"{step.model_name} reads what stems from different decoupled models"
                where = f"ensemble_scheduling.step[{number}].input_map"
                yield model.finding("MR519", where, message, "let it read outputs of one decoupled model only")
            source = number + 1 if step_model is not None and step_model.is_decoupled else min(sources)
            origin |= {tensor: source for tensor in step.output_map.values() if tensor not in origin}
            steps.remove((number, step))
    outputs = [(place, origin.get(tensor.name)) for place, tensor in enumerate(config.output)]
    if None in (source for _, source in outputs):
        return  # an output that nothing writes, which is MR506
    odd = next((place for place, source in outputs if source != outputs[0][1]), None)
    if odd is not None:
        one, two = config.output[0].name, config.output[odd].name
        message = f"the outputs {one!r} and {two!r} stem from different decoupled models, or one of them from none"
        yield model.finding("MR521", f"output[{odd}].name", message, "let all outputs stem from the same one last")
