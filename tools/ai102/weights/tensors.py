"""The table of models.toml that follows from a network's tensors, for sources that define only tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ai102.contract import Tensor
from ai102.errors import UserError
from ai102.weights.source import Wish

MAX_BATCH_SIZE = 32


def table_of_tensors(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, is_batched: bool, source: str, wish: Wish
) -> Mapping[str, Any]:
    """inputs, outputs, labels and max_batch_size; the tensors' dims are without the batch dimension if there is one.

    `source` names the network in errors. Raises UserError, in one line, when Triton has no such tensors or when
    they are not those of the task or of the wish.
    """
    if not inputs or not outputs:
        raise UserError(f"{source}: has {len(inputs)} inputs and {len(outputs)} outputs, expected at least one of each")
    if scalar := next((t for t in (*inputs, *outputs) if not t.dims and not is_batched), None):
        raise UserError(f"{source}: {scalar.name} has no dimensions; Triton serves none such: reshape it to [1]")
    if wish.max_batch_size and not is_batched:
        raise UserError(
            f"{source}: has no batch dimension (a first dimension that varies in every tensor), "
            f"but --max-batch-size is {wish.max_batch_size}: write 0 or leave it out"
        )
    inputs, outputs = _as_wished(inputs, wish.inputs, source), _as_wished(outputs, wish.outputs, source)
    size = 0 if not is_batched else wish.max_batch_size or MAX_BATCH_SIZE
    table = {"inputs": [_table(t) for t in inputs], "outputs": [_table(t) for t in outputs], "max_batch_size": size}
    match wish.task:
        case "tensors":
            return table | {"labels": list(wish.labels)}
        case "image-classification":
            return table | {"inputs": [_image(inputs, source)], "labels": _labels(outputs, wish, source)}
    raise UserError(f"{source}: brings no tokenizer, which {wish.task} needs: use an hf: source, or --task tensors")


def _as_wished(tensors: Sequence[Tensor], wished: Sequence[Tensor], source: str) -> list[Tensor]:
    """The tensors of the file with the user's dims; a dimension that varies may be fixed."""
    by_name = {tensor.name: tensor for tensor in wished}
    if unknown := [name for name in by_name if name not in {tensor.name for tensor in tensors}]:
        raise UserError(f"{source}: has no tensor {unknown[0]}; it has {', '.join(t.name for t in tensors)}")
    fixed = []
    for tensor in tensors:
        wish = by_name.get(tensor.name, tensor)
        fits = len(wish.dims) == len(tensor.dims) and all(
            there in (-1, size) for there, size in zip(tensor.dims, wish.dims, strict=True)
        )
        if wish.type != tensor.type or not fits:
            raise UserError(
                f"{source}: {tensor.name} is {tensor.type} {list(tensor.dims)} in the file, "
                f"which {wish.type} {list(wish.dims)} does not fit"
            )
        fixed.append(wish)
    return fixed


def _image(inputs: Sequence[Tensor], source: str) -> dict[str, Any]:
    first = inputs[0]
    is_nchw = first.dims[:1] in ((1,), (3,))
    if len(inputs) != 1 or len(first.dims) != 3 or (not is_nchw and first.dims[-1] not in (1, 3)):
        shown = ", ".join(f"{t.name} {list(t.dims)}" for t in inputs)
        raise UserError(f"{source}: takes {shown}; an image network takes one [3, height, width] or [height, width, 3]")
    return _table(first) | {"layout": "NCHW" if is_nchw else "NHWC"}


def _labels(outputs: Sequence[Tensor], wish: Wish, source: str) -> list[str]:
    count = outputs[0].dims[-1] if outputs[0].dims else 1
    if len(wish.labels) != count:
        raise UserError(
            f"{source}: gives {count} scores and {len(wish.labels)} labels were named: --labels FILE, one per line"
        )
    return list(wish.labels)


def _table(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.type, "dims": list(tensor.dims)}
