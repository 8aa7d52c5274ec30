"""The model to tune and its requests: a network by itself, or inside an ensemble that gets the load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ai102.build.workspace import Workspace
from ai102.client import bytes_array
from ai102.contract import Contract, ServedModel
from ai102.contract.pipelines import pipeline_named
from ai102.errors import UserError
from ai102.samples.examples import examples_for
from ai102.samples.read import read_samples, tensors_of_items
from ai102.tune.load import Request

REQUESTS = 64


@dataclass(frozen=True)
class Subject:
    """`requested` gets the requests: it is `tuned`, the model of `network`, or an ensemble around it."""

    requested: str
    network: str
    tuned: str
    around: tuple[str, ...]  # the network's Python models that the ensemble runs too


def subject_of(contract: Contract, name: str) -> Subject:
    """The subject for a network, one of its models, or an ensemble. Raises UserError for other names."""
    served = {model.name: model for model in contract.served_models}
    if name in contract.networks:
        return subject_of(contract, f"{name}_{contract.networks[name].precisions[-1]}")
    if name in contract.ensembles:
        steps = [served[step.model] for step in contract.ensembles[name].steps]
        return _of_ensemble(name, steps)
    if name in served and served[name].kind == "onnx":
        network = served[name].network
        assert network is not None
        return Subject(name, network, name, ())
    known = [*contract.networks, *contract.ensembles]
    raise UserError(f"{name} is neither a network nor an ensemble of models.toml; there are {', '.join(known)}")


def _of_ensemble(name: str, steps: Sequence[ServedModel]) -> Subject:
    inside = [step for step in steps if step.kind == "onnx"]
    if len(inside) != 1 or inside[0].network is None:
        which = ", ".join(step.name for step in inside) or "none"
        raise UserError(
            f"ensemble {name}: only an ensemble with one network can be tuned, it has {which}; tune each by its name"
        )
    network = inside[0].network
    around = tuple(step.name for step in steps if step.kind != "onnx" and step.network == network)
    return Subject(name, network, inside[0].name, around)


def requests_for(workspace: Workspace, subject: Subject) -> tuple[list[Request], tuple[str, ...], str]:
    """Requests of one item each, the outputs to request, and a description of the items.

    The items are held-out samples of the network's set, or generated values if it has none. Raises UserError for an
    ensemble whose input no set contains.
    """
    contract, network = workspace.contract, workspace.network(subject.network)
    name = network.calibration_set
    items = read_samples(workspace.sets, name, "test").items[:REQUESTS] if name else ()
    description = f"{len(items)} test samples of the set {name}" if name else "generated values, since there is no set"
    if subject.requested == subject.tuned:
        source = workspace.source(subject.network)
        requests: list[Request]
        if items:
            requests = [tensors_of_items(network, [item], source.tokenizer_file) for item in items]
        else:
            requests = [examples_for(network, source.tokenizer_file, 1)]
        if network.batching.max_batch_size == 0 and items:
            requests = [{key: array[0] for key, array in request.items()} for request in requests]
        return requests, tuple(tensor.name for tensor in network.outputs), description
    pipeline = pipeline_named(contract, subject.requested)
    if not items:
        if pipeline.takes == "image":
            raise UserError(
                f"{subject.requested}: {subject.network} has no calibration_set to take images from; name one"
            )
        from ai102.samples.examples import TEXTS

        items = tuple(text.encode() for text in TEXTS)
    raw: list[Request] = [{pipeline.input: bytes_array([item])} for item in items]
    return raw, contract.ensembles[subject.requested].outputs, description
