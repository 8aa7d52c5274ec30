"""Which models a contract makes Triton serve, and whether an ensemble's tensors flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ai102.contract.ensemble import Ensemble
from ai102.contract.network import Network
from ai102.contract.tables import Tensor
from ai102_runtime.data_types import TypeName

# What runs a model: the ONNX file itself, one of our Python models, or Triton's ensemble scheduler.
Kind = Literal["onnx", "decode_image", "tokenize_text", "label_scores", "label_tokens", "ensemble", "sealed"]


# What the name of the model that seals an ensemble begins with.
SEALED = "sealed_"
# The first and the past-the-last character of each token in the text, both 0 for tokens that stand for none.
TOKEN_SPANS = Tensor(name="spans", type="INT32", dims=(-1, 2))


class ServedModel(NamedTuple):
    """One folder of model_repository."""

    name: str
    kind: Kind
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    network: str | None  # None for an ensemble, which may join several, and for what seals one


def _one(name: str, kind: TypeName) -> Tensor:
    return Tensor(name=name, type=kind, dims=(1,))


def _each_token(name: str, kind: TypeName) -> Tensor:
    return Tensor(name=name, type=kind, dims=(-1,))


def models_of_network(name: str, net: Network) -> list[ServedModel]:
    """The network in each precision, and the Python models that stand before and behind it."""

    def served(suffix: str, kind: Kind, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> ServedModel:
        return ServedModel(f"{name}_{suffix}", kind, inputs, outputs, net.batching.max_batch_size, name)

    models = [served(precision, "onnx", net.inputs, net.outputs) for precision in net.precisions]
    if net.task == "image-classification":
        models.append(served("decode", "decode_image", (_one("image", "BYTES"),), net.inputs))
    if net.text:
        tokens = (
            *net.inputs,
            _one("truncated", "BOOL"),
            *([TOKEN_SPANS] if net.task == "token-classification" else []),
        )
        models.append(served("tokenize", "tokenize_text", (_one("text", "BYTES"),), tokens))
    match net.task:
        case "image-classification" | "text-classification":
            models.append(served("label", "label_scores", net.outputs, (_one("label", "BYTES"), _one("score", "FP32"))))
        case "token-classification":
            scored = (
                _each_token("label", "BYTES"),
                _each_token("score", "FP32"),
                TOKEN_SPANS.model_copy(update={"name": "span"}),
            )
            models.append(served("label", "label_tokens", (*net.outputs, TOKEN_SPANS), scored))
    return models


def model_of_ensemble(name: str, ensemble: Ensemble, models: Mapping[str, ServedModel]) -> ServedModel:
    """The ensemble as a model: its outer tensors and the smallest batch of its steps.

    Raises ValueError, beginning with the key that is wrong, when a step names an unknown model, takes a
    tensor that nothing before it makes, makes one twice, or is handed another type or shape than it takes.
    """
    _check_batches(ensemble, models)
    flowing: dict[str, Tensor] = {}
    declared = set(ensemble.inputs)
    used: set[str] = set()
    for position, step in enumerate(ensemble.steps):
        where = f"steps[{position}]"
        model = models.get(step.model)
        if model is None:
            raise ValueError(f'{where} is "{step.model}": no such model; there are {", ".join(sorted(models))}')
        _check_map(where, "inputs", step.inputs, model.inputs)
        _check_map(where, "outputs", step.outputs, model.outputs)
        for taken in model.inputs:
            outer = step.inputs.get(taken.name, taken.name)
            if outer in declared:
                flowing.setdefault(outer, taken.model_copy(update={"name": outer}))
            if outer not in flowing:
                raise ValueError(
                    f'{where} ("{step.model}") takes "{outer}", which no step before it makes; '
                    f'add it to inputs, or map it: inputs = {{ {taken.name} = "..." }}'
                )
            used.add(outer)
            if outer in ensemble.outputs:
                # Triton 2.51 and its open issue 7482: a caller who asks for some outputs but not this one gets the
                # error of a deadlock, since the server then also withholds it from the step.
                raise ValueError(
                    f'{where} ("{step.model}") takes "{outer}", which is also in outputs: a request for the other '
                    "outputs alone would fail; offer it by an ensemble of its own that ends with the step that makes it"
                )
            given = flowing[outer]
            if (given.type, given.dims) != (taken.type, taken.dims):
                raise ValueError(
                    f'{where} ("{step.model}") takes {taken.name} as {taken.type} {list(taken.dims)} '
                    f'but "{outer}" is {given.type} {list(given.dims)}; put a step between that converts it'
                )
        for output in model.outputs:
            outer = step.outputs.get(output.name, output.name)
            if outer in flowing or outer in declared:
                raise ValueError(
                    f'{where} ("{step.model}") makes "{outer}", which is already there; '
                    f'give it another name: outputs = {{ {output.name} = "..." }}'
                )
            flowing[outer] = output.model_copy(update={"name": outer})
    if idle := [name for name in ensemble.inputs if name not in used]:
        raise ValueError(f'inputs holds "{idle[0]}", which no step takes; drop it or map it in a step')
    if missing := [name for name in ensemble.outputs if name not in flowing]:
        raise ValueError(f'outputs holds "{missing[0]}", which no step makes; there are {", ".join(sorted(flowing))}')
    if ensemble.in_one_process:
        network_step(ensemble, models)
    return ServedModel(
        name,
        "ensemble",
        tuple(flowing[tensor] for tensor in ensemble.inputs),
        tuple(flowing[tensor] for tensor in ensemble.outputs),
        min(models[step.model].max_batch_size for step in ensemble.steps),
        None,
    )


def model_that_seals(ensemble: ServedModel) -> ServedModel:
    """Opens a sealed request, asks the ensemble from inside the server, seals its answer.

    One model and not three steps: a step that opens, served by itself, would decrypt for whoever reaches Triton.
    """
    envelope = _one("envelope", "BYTES")
    return ServedModel(SEALED + ensemble.name, "sealed", (envelope,), (envelope,), ensemble.max_batch_size, None)


def network_step(ensemble: Ensemble, models: Mapping[str, ServedModel]) -> ServedModel:
    """The one network of an ensemble that runs in one process. Raises ValueError when there is none, or another."""
    networks = [models[step.model] for step in ensemble.steps if models[step.model].kind == "onnx"]
    if len(networks) != 1:
        names = ", ".join(model.name for model in networks) or "none"
        raise ValueError(f"in_one_process wants exactly one network among the steps, there is {names}; drop the key")
    if odd := [tensor.name for tensor in (*networks[0].inputs, *networks[0].outputs) if tensor.type == "BF16"]:
        raise ValueError(f'in_one_process: "{odd[0]}" of {networks[0].name} is BF16, which numpy lacks; drop the key')
    return networks[0]


def _check_batches(ensemble: Ensemble, models: Mapping[str, ServedModel]) -> None:
    """Raises ValueError where a step has a batch dimension and another has none: their tensors never fit."""
    known = [(place, models[step.model]) for place, step in enumerate(ensemble.steps) if step.model in models]
    batched = [model.name for _, model in known if model.max_batch_size]
    if plain := [(place, model.name) for place, model in known if not model.max_batch_size and batched]:
        raise ValueError(
            f'steps[{plain[0][0]}] ("{plain[0][1]}") has no batch dimension but "{batched[0]}" has one: '
            "export both with one, or make two ensembles"
        )


def _check_map(where: str, key: str, mapping: Mapping[str, str], tensors: tuple[Tensor, ...]) -> None:
    names = [tensor.name for tensor in tensors]
    if unknown := [name for name in mapping if name not in names]:
        raise ValueError(f'{where}.{key} maps "{unknown[0]}", but the model has {", ".join(names)}')
