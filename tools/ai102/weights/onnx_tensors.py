"""Inputs and outputs of an ONNX file as tables of models.toml: types, dims, whether there is a batch dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai102.contract import Tensor
from ai102.errors import UserError
from ai102.samples.examples import example_tensors
from ai102.weights.source import Wish
from ai102.weights.tensors import table_of_tensors
from ai102_runtime.data_types import BY_ONNX


def described(file: Path, source: str, wish: Wish) -> Mapping[str, Any]:
    """The table of models.toml for a network that is the ONNX `file`; `source` names it in errors.

    It has a batch dimension if the first dimension of every tensor varies and the outputs' equals the inputs'.
    Raises UserError, in one line, when ONNX Runtime cannot load it, and where `table_of_tensors` does.
    """
    session = _session(file, source)
    inputs, outputs = (_tensors(values, source) for values in (session.get_inputs(), session.get_outputs()))
    is_batched = wish.max_batch_size != 0 and _has_batch(session, inputs, outputs)
    if is_batched:
        inputs, outputs = ([without_batch(t) for t in tensors] for tensors in (inputs, outputs))
    return table_of_tensors(inputs, outputs, is_batched=is_batched, source=source, wish=wish)


def _session(file: Path, source: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # onnxruntime has an exception class per status and no public base class
        reason = " ".join(str(err).replace(str(file), file.name).split())
        raise UserError(f"{source}: ONNX Runtime {onnxruntime.__version__} cannot load it: {reason}") from err


def _tensors(values: Sequence[Any], source: str) -> list[Tensor]:
    tensors = []
    for value in values:
        if value.type not in BY_ONNX:
            what = value.type.partition("(")[0]
            advice = "remove ZipMap (zipmap=False)" if "map" in value.type else "end the graph with plain tensors"
            kind = value.type if what == "tensor" else f"a {what}"
            raise UserError(f"{source}: {value.name} is {kind}, and Triton serves tensors of its types: {advice}")
        dims = tuple(size if isinstance(size, int) else -1 for size in value.shape)
        tensors.append(Tensor.model_construct(name=value.name, type=BY_ONNX[value.type].name, dims=dims, layout=None))
    return tensors


def _has_batch(session: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> bool:
    """Whether every tensor begins with a dimension that varies and has the same size in outputs and inputs.

    A file that does not run on generated values is served without a batch dimension, which is always correct.
    """
    if any(tensor.dims[:1] != (-1,) for tensor in (*inputs, *outputs)):
        return False
    plain = [without_batch(tensor) for tensor in inputs]
    for count in (1, 3):
        try:
            answers = session.run(None, example_tensors(plain, count))
        except Exception:  # noqa: BLE001  as above; why it failed does not matter here
            return False
        if any(answer.shape[:1] != (count,) for answer in answers):
            return False
    return True


def without_batch(tensor: Tensor) -> Tensor:
    return tensor.model_copy(update={"dims": tensor.dims[1:]})
