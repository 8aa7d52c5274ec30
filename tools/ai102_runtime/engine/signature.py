"""What a model file takes and gives, and whether a Triton config agrees with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Parts of a config that NVIDIA's backend acts on and a Python-based one cannot.
UNSERVED = ("batch_input", "batch_output")


class ModelRefusedError(Exception):
    """This model must not be served as it is configured; the message is one line."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model file. A free dimension is -1; `symbols` has its name, if it has one."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    symbols: tuple[str, ...] = ()

    @property
    def has_free_first_dim(self) -> bool:
        """Whether the first dimension can be a batch."""
        return bool(self.dims) and self.dims[0] == -1


@dataclass(frozen=True)
class Signature:
    """The tensors of one model file; `defaults` are inputs that may be left out.

    `completes_batch`: whether a config without a batch size gets one; None: if the tensors can batch.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    defaults: tuple[TensorSpec, ...] = ()
    completes_batch: bool | None = None

    @property
    def can_batch(self) -> bool:
        """NVIDIA's rule: every input and output has a free first dimension."""
        return all(tensor.has_free_first_dim for tensor in (*self.inputs, *self.outputs))


@dataclass(frozen=True)
class Completion:
    """What a config leaves out, as the ONNX file says it."""

    max_batch_size: int
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    wants_dynamic_batching: bool


def completion(config: Mapping[str, Any], signature: Signature, default_max_batch_size: int) -> Completion:
    """Fill in a config by the rule of Triton's own backend (AutoCompleteConfig in onnxruntime.cc and openvino.cc)."""
    max_batch_size = int(config.get("max_batch_size", 0))
    completes_batch = signature.can_batch and signature.completes_batch is not False
    if completes_batch:
        max_batch_size = max_batch_size or max(default_max_batch_size, 0)
    elif max_batch_size > 0 and not signature.can_batch:
        fixed = next(t for t in (*signature.inputs, *signature.outputs) if not t.has_free_first_dim)
        raise ModelRefusedError(
            f"config.pbtxt says max_batch_size {max_batch_size}, the file says {_shown(fixed.dims)} for "
            f"{fixed.name!r}, which has no free first dimension: set max_batch_size: 0, or export with a dynamic batch"
        )
    has_scheduler = "sequence_batching" in config or "dynamic_batching" in config
    batches = max_batch_size > 0
    return Completion(
        max_batch_size,
        () if config.get("input") else tuple(_config_tensor(t, batches) for t in signature.inputs),
        () if config.get("output") else tuple(_config_tensor(t, batches) for t in signature.outputs),
        completes_batch and max_batch_size > 1 and not has_scheduler,
    )


def _config_tensor(tensor: TensorSpec, batches: bool) -> dict[str, Any]:
    if not tensor.data_type.startswith("TYPE_"):
        raise ModelRefusedError(
            f"{tensor.name!r} is a {tensor.data_type} in the file, and Triton serves tensors only: "
            "export without it (scikit-learn: zipmap=False)"
        )
    dims = list(tensor.dims[1:] if batches else tensor.dims)
    described: dict[str, Any] = {"name": tensor.name, "data_type": tensor.data_type, "dims": dims or [1]}
    if not dims and batches:
        # Triton knows no tensor without dimensions.
        described["reshape"] = {"shape": []}
    return described


def check_agreement(config: Mapping[str, Any], signature: Signature) -> None:
    """Raise ModelRefusedError, naming both sides, where names, types or dims of config and file differ."""
    _refuse_unserved(config)
    max_batch_size = int(config.get("max_batch_size", 0))
    listed = {tensor["name"]: tensor for tensor in config.get("input", [])}
    _check_input_names(listed, _control_names(config), signature, max_batch_size)
    known = {tensor.name: tensor for tensor in (*signature.inputs, *signature.defaults)}
    for name, tensor in listed.items():
        _check_tensor("input", tensor, known[name], max_batch_size, is_exact=False)
    known = {tensor.name: tensor for tensor in signature.outputs}
    for tensor in config.get("output", []):
        if tensor["name"] not in known:
            raise ModelRefusedError(
                f"config.pbtxt says output {tensor['name']!r}, the file says {_names(known)}: use one of its names"
            )
        _check_tensor("output", tensor, known[tensor["name"]], max_batch_size, is_exact=True)


def _refuse_unserved(config: Mapping[str, Any]) -> None:
    unserved = [key for key in UNSERVED if config.get(key)]
    unserved += ["allow_ragged_batch"] * any(t.get("allow_ragged_batch") for t in config.get("input", []))
    unserved += ["sequence_batching.state"] * bool(config.get("sequence_batching", {}).get("state"))
    if unserved:
        raise ModelRefusedError(
            f"config.pbtxt says {unserved[0]}, which this backend cannot serve: leave it out, or use NVIDIA's container"
        )


def _control_names(config: Mapping[str, Any]) -> set[str]:
    return {control["name"] for control in config.get("sequence_batching", {}).get("control_input", [])}


def _check_input_names(
    listed: Mapping[str, Mapping[str, Any]], controls: set[str], signature: Signature, max_batch_size: int
) -> None:
    required = {tensor.name for tensor in signature.inputs}
    defaults = {tensor.name for tensor in signature.defaults}
    for name, tensor in listed.items():
        if name not in required | defaults:
            raise ModelRefusedError(
                f"config.pbtxt says input {name!r}, the file says {_names(required | defaults)}: use one of its names"
            )
        is_optional = bool(tensor.get("optional"))
        if is_optional and max_batch_size > 0:
            raise ModelRefusedError(
                f"config.pbtxt says input {name!r} is optional and max_batch_size {max_batch_size}: "
                "Triton takes optional inputs only with max_batch_size: 0"
            )
        if is_optional != (name in defaults):
            verb = "has a default for it: write" if name in defaults else "has no default for it: leave out"
            said = "optional" if is_optional else "required"
            raise ModelRefusedError(f"config.pbtxt says input {name!r} is {said}, the file {verb} optional: true")
    if missing := required - set(listed) - controls:
        raise ModelRefusedError(
            f"config.pbtxt says inputs {_names(listed)}, the file says {_names(required)}: add {_names(missing)}"
        )


def _check_tensor(
    kind: str, tensor: Mapping[str, Any], spec: TensorSpec, max_batch_size: int, *, is_exact: bool
) -> None:
    where = f"{kind} {spec.name!r}"
    if tensor["data_type"] != spec.data_type:
        raise ModelRefusedError(
            f"config.pbtxt says {tensor['data_type']} for {where}, the file says {spec.data_type}: "
            f"write data_type: {spec.data_type}"
        )
    source = tensor["reshape"].get("shape", []) if "reshape" in tensor else tensor["dims"]
    dims = [int(dim) for dim in source]
    if max_batch_size > 0:
        if not spec.has_free_first_dim:
            raise ModelRefusedError(
                f"config.pbtxt says max_batch_size {max_batch_size}, the file says {_shown(spec.dims)} for {where}, "
                "which has no free first dimension: set max_batch_size: 0, or export with a dynamic batch"
            )
        dims = [-1, *dims]
    if not spec.dims:
        agrees = all(dim == 1 for dim in dims)
    else:
        agrees = len(dims) == len(spec.dims) and all(
            given == known or (known == -1 and not is_exact) for given, known in zip(dims, spec.dims, strict=True)
        )
    if not agrees:
        expected = (spec.dims[1:] if max_batch_size > 0 else spec.dims) or (1,)
        batch = " (the first is the batch of max_batch_size)" if max_batch_size > 0 else ""
        raise ModelRefusedError(
            f"config.pbtxt says {_shown(dims)}{batch} for {where}, the file says {_shown(spec.dims)}: "
            f"write dims: {_shown(expected)}"
        )


def _names(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def _shown(dims: Sequence[int]) -> str:
    return f"[{', '.join(str(dim) for dim in dims)}]"
