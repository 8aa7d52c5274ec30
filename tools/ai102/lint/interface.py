"""What another model meets when it calls a model: its tensors and batch size, with what the server fills in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from ai102.lint.backends import is_ensemble, served
from ai102.lint.model import Model, Repository
from ai102.lint.onnx_file import OnnxTensor, Signature, signature_from_onnx

# What the server sets where the config leaves the batch to it and the file can have one.
DEFAULT_MAX_BATCH_SIZE = 4


@dataclass(frozen=True)
class IOTensor:
    name: str
    data_type: int
    dims: tuple[int, ...]
    is_optional: bool = False


@dataclass(frozen=True)
class Interface:
    """By name. `is_whole` is False where the backend may add tensors that no file tells of."""

    max_batch_size: int
    inputs: dict[str, IOTensor]
    outputs: dict[str, IOTensor]
    is_decoupled: bool
    is_whole: bool


def interface(model: Model, repository: Repository) -> Interface | None:
    """None where it is not known: the config does not parse, or Python code completes it in a way that is not clear."""
    config = model.config if model.config is not None else pb.ModelConfig()
    if model.config is None and model.has_config:
        return None
    is_written = bool(config.input) and bool(config.output)
    signature = None if is_written else completing_signature(model, repository)
    whole = is_written or signature is not None or is_ensemble(model)
    if served(model).backend == "python":
        if not model.is_decided:
            return None
        whole = bool(model.loaded_versions)
    return Interface(
        max_batch_size=config.max_batch_size or _default_batch(signature),
        inputs=_tensors(config.input) or (_completed(signature.inputs, signature) if signature else {}),
        outputs=_tensors(config.output) or (_completed(signature.outputs, signature) if signature else {}),
        is_decoupled=_is_decoupled(model, repository, frozenset()),
        is_whole=whole,
    )


def completing_signature(model: Model, repository: Repository) -> Signature | None:
    """The ONNX file that the server reads the tensors from."""
    if not repository.check_files or not model.loaded_versions:
        return None
    _, backend, file = served(model)
    return signature_from_onnx(model.file(model.loaded_versions[-1], file)) if backend == "onnxruntime" else None


def _default_batch(signature: Signature | None) -> int:
    return DEFAULT_MAX_BATCH_SIZE if signature is not None and signature.can_batch else 0


def _tensors(tensors: Any) -> dict[str, IOTensor]:
    return {
        tensor.name: IOTensor(tensor.name, tensor.data_type, tuple(tensor.dims), getattr(tensor, "optional", False))
        for tensor in tensors
    }


def _completed(tensors: tuple[OnnxTensor, ...], signature: Signature) -> dict[str, IOTensor]:
    """The dims as the server writes them into the config: without the batch, and never none."""
    return {
        tensor.name: IOTensor(
            tensor.name, tensor.data_type, (tensor.dims or ())[1 if signature.can_batch else 0 :] or (1,)
        )
        for tensor in tensors
    }


def _is_decoupled(model: Model, repository: Repository, around: frozenset[str]) -> bool:
    """An ensemble is what its steps are, whatever its config says."""
    config = model.config
    if config is None:
        return False
    if not is_ensemble(model):
        return bool(config.model_transaction_policy.decoupled)
    names = {step.model_name for step in config.ensemble_scheduling.step} - around
    steps = [repository.models[name] for name in names if name in repository.models]
    return any(_is_decoupled(step, repository, around | {model.name}) for step in steps)
