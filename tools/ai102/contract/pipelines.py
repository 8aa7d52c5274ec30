"""The contract's ensembles that take an image or a text, and the model that each of their outputs comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ai102.contract.contract import Contract
from ai102.contract.served import ServedModel
from ai102.errors import UserError

Takes = Literal["image", "text"]
_FRONTS: Mapping[str, Takes] = {"decode_image": "image", "tokenize_text": "text"}


class Origin(NamedTuple):
    """The step that produces an ensemble's output, and the step's name for that tensor."""

    model: ServedModel
    tensor: str


class Pipeline(NamedTuple):
    """An ensemble with one input, an encoded image or a text."""

    name: str
    input: str
    takes: Takes
    inner: ServedModel | None  # the model of its network; None if it has none, or several
    outputs: Mapping[str, Origin]

    @property
    def network(self) -> str | None:
        return self.inner.network if self.inner else None


def pipelines_of(contract: Contract) -> dict[str, Pipeline]:
    """The pipelines by name; of several with the same answers the preferred one comes first."""
    models = {model.name: model for model in contract.served_models}
    pipelines = {}
    for name, ensemble in contract.pipelines:
        steps = [(step, models[step.model]) for step in ensemble.steps]
        takes = next((_FRONTS[model.kind] for _, model in steps if model.kind in _FRONTS), None)
        if takes is None or len(ensemble.inputs) != 1:
            continue
        origins = {
            step.outputs.get(output.name, output.name): Origin(model, output.name)
            for step, model in steps
            for output in model.outputs
        }
        networks = [model for _, model in steps if model.kind == "onnx"]
        inner = networks[0] if len(networks) == 1 else None
        outputs = {tensor: origins[tensor] for tensor in ensemble.outputs}
        pipelines[name] = Pipeline(name, ensemble.inputs[0], takes, inner, outputs)
    return pipelines


def pipeline_named(contract: Contract, name: str) -> Pipeline:
    """Raises UserError when there is no pipeline of that name."""
    pipelines = pipelines_of(contract)
    if name not in pipelines:
        raise UserError(
            f"{name} is no ensemble of models.toml that takes images or texts; there are {', '.join(pipelines)}"
        )
    return pipelines[name]


def pipeline_of_network(contract: Contract, network: str) -> tuple[Pipeline, str]:
    """The pipeline that serves a network, and its output that is the network's first. Raises UserError without one."""
    output = contract.networks[network].outputs[0].name
    for pipeline in pipelines_of(contract).values():
        for tensor, origin in pipeline.outputs.items():
            if pipeline.network == network and origin == (pipeline.inner, output):
                return pipeline, tensor
    raise UserError(f"no ensemble of models.toml takes one item and returns {output} of {network}")
