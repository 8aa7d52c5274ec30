"""The models that Triton serves for a contract, and whether an ensemble's tensors match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ai102.contract.ensemble import Ensemble
from ai102.contract.network import Network
from ai102.contract.tables import Tensor
from ai102_runtime.data_types import TypeName

# How a model is run: as an ONNX file, as one of our Python models, or by Triton's ensemble scheduler.
Kind = Literal["onnx", "decode_image", "tokenize_text", "label_scores", "label_tokens", "ensemble", "sealed"]


# The name prefix of the model that decrypts requests for an ensemble and encrypts its answers.
SEALED = "sealed_"
# Begin and end (exclusive) of each token in the text, in characters; both 0 for special tokens.
TOKEN_SPANS = Tensor(name="spans", type="INT32", dims=(-1, 2))


class ServedModel(NamedTuple):
    """One folder of model_repository."""

    name: str
    kind: Kind
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    network: str | None  # None for an ensemble, which may join several, and for a model that seals one


def _one(name: str, kind: TypeName) -> Tensor:
    return Tensor(name=name, type=kind, dims=(1,))


def _each_token(name: str, kind: TypeName) -> Tensor:
    return Tensor(name=name, type=kind, dims=(-1,))


def models_of_network(name: str, net: Network) -> list[ServedModel]:
    """The network in each precision, and its Python models for pre- and postprocessing."""

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
    """The ensemble as a model: its inputs and outputs, and the smallest max_batch_size of its steps.

    Raises ValueError, beginning with the wrong key, when a step names an unknown model, takes a tensor that no step
    before it makes, makes a tensor a second time, or gets another type or shape than it takes.
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
        for needed in model.inputs:
            outer = step.inputs.get(needed.name, needed.name)
            if outer in declared:
                flowing.setdefault(outer, needed.model_copy(update={"name": outer}))
            if outer not in flowing:
                raise ValueError(
                    f'{where} ("{step.model}") takes "{outer}", which no step before it makes; '
                    f'add it to inputs, or map it: inputs = {{ {needed.name} = "..." }}'
                )
            used.add(outer)
            if outer in ensemble.outputs:
                # Triton 2.51 and its open issue 7482: a request for other outputs without this one fails with a
                # deadlock error, since the server then does not pass it to the step either.
                raise ValueError(
                    f'{where} ("{step.model}") takes "{outer}", which is also in outputs: a request for the other '
                    "outputs alone would fail; offer it by an ensemble of its own that ends with the step that makes it"
                )
            source = flowing[outer]
            if (source.type, source.dims) != (needed.type, needed.dims):
                raise ValueError(
                    f'{where} ("{step.model}") takes {needed.name} as {needed.type} {list(needed.dims)} '
                    f'but "{outer}" is {source.type} {list(source.dims)}; put a step between that converts it'
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
    """The model that decrypts a request, calls the ensemble inside the server and encrypts its answer.

    It is one model, not three steps: a decrypting step, served by itself, would decrypt for every client of Triton.
    """
    envelope = _one("envelope", "BYTES")
    return ServedModel(SEALED + ensemble.name, "sealed", (envelope,), (envelope,), ensemble.max_batch_size, None)


def network_step(ensemble: Ensemble, models: Mapping[str, ServedModel]) -> ServedModel:
    """The one network of an ensemble that runs in one process. Raises ValueError when there is none, or another."""
    networks = [models[step.model] for step in ensemble.steps if models[step.model].kind == "onnx"]
    if len(networks) != 1:
        names = ", ".join(model.name for model in networks) or "none"
        raise ValueError(f"in_one_process needs exactly one network among the steps, there is {names}; drop the key")
    if odd := [tensor.name for tensor in (*networks[0].inputs, *networks[0].outputs) if tensor.type == "BF16"]:
        raise ValueError(f'in_one_process: "{odd[0]}" of {networks[0].name} is BF16, which numpy lacks; drop the key')
    return networks[0]


def _check_batches(ensemble: Ensemble, models: Mapping[str, ServedModel]) -> None:
    """Raises ValueError if a step has a batch dimension and another has none: their tensors never match."""
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
