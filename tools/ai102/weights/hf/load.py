"""Loads a checkpoint's weights into the PyTorch network that transformers builds; none may be missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
import transformers
from torch import Tensor
from transformers.utils import logging as their_logging

from ai102.contract import Task
from ai102.errors import UserError
from ai102.weights.hf.checkpoint import Checkpoint

AUTO: dict[Task, Any] = {
    "image-classification": transformers.AutoModelForImageClassification,
    "text-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "text-embedding": transformers.AutoModel,
}
# The limit of one ONNX file that holds its weights.
MAX_BYTES = (1 << 31) - 1
Activation = Literal["softmax", "sigmoid", "none"]
_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": lambda logits: logits.sigmoid(),
    "none": lambda logits: logits,
}


def check_fits(checkpoint: Checkpoint, task: Task) -> None:
    """Raises UserError when transformers has no network of the checkpoint's type for the task."""
    kind = str(checkpoint.config.get("model_type"))
    if kind not in transformers.CONFIG_MAPPING:
        raise UserError(
            f'{checkpoint.source}: config.json has model_type "{kind}", which transformers {transformers.__version__} '
            "does not know: name another checkpoint, or a version that knows it"
        )
    if transformers.CONFIG_MAPPING[kind] not in AUTO[task]._model_mapping:
        raise UserError(f'{checkpoint.source}: transformers has no network of type "{kind}" for {task}')


def loaded(checkpoint: Checkpoint, task: Task, unused: Sequence[str] = ()) -> Any:
    """The network in float32 and eval mode.

    Raises UserError when it cannot be built, or when weights are missing, which transformers would initialize at
    random; weights whose names begin with one of `unused` may be missing.
    """
    check_fits(checkpoint, task)
    with quietly(), errors_in_one_line(checkpoint, f"cannot load it for {task}"):
        net, info = AUTO[task].from_pretrained(
            checkpoint.folder,
            use_safetensors=not checkpoint.is_pickle,
            weights_only=not checkpoint.is_pickle,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
    if missing := sorted(key for key in info["missing_keys"] if not key.startswith(tuple(unused))):
        architecture = ", ".join(checkpoint.config.get("architectures") or ["without a name"])
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise UserError(
            f"{checkpoint.source}: its network is {architecture} and lacks {named}, which {task} needs: transformers "
            "would initialize them at random; name a checkpoint that was trained for it"
        )
    size = sum(tensor.numel() * 4 for tensor in net.parameters())
    if size > MAX_BYTES:
        raise UserError(f"{checkpoint.source}: {size / 1e9:.1f} GB in float32; one ONNX file holds at most 2 GB")
    return net.eval()


def labels_of(checkpoint: Checkpoint, config: Any, wished: Collection[str]) -> list[str]:
    """The labels in the order of the scores: the checkpoint's own, or those that the user gave.

    Raises UserError when their number is not that of the scores, or when they cannot be lines of a file.
    """
    named: dict[int, str] = config.id2label
    if sorted(named) != list(range(len(named))):
        raise UserError(f"{checkpoint.source}: id2label has {sorted(named)[:5]}..., expected 0, 1, 2 and so on")
    labels = [str(named[index]) for index in range(len(named))]
    if wished and len(wished) != len(labels):
        raise UserError(f"{checkpoint.source}: gives {len(labels)} scores and {len(wished)} labels were named")
    chosen = list(wished or labels)
    if unfit := next((label for label in chosen if label.splitlines() != [label]), None):
        raise UserError(f"{checkpoint.source}: a label is {unfit!r}, expected one line each")
    if "" in chosen:
        raise UserError(f"{checkpoint.source}: label {chosen.index('')} is empty: name them with --labels FILE")
    return chosen


def activation_of(config: Any) -> Activation:
    """The function that transformers' classification pipelines apply to the logits of a network with that config."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def activate(logits: Tensor, activation: Activation) -> Tensor:
    return _ACTIVATIONS[activation](logits)


@contextmanager
def errors_in_one_line(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turns an exception of transformers, of any type and with any number of lines, into a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as err:
        reason = " ".join(str(err).split())
        reason = reason if len(reason) <= 300 else reason[:300] + "..."
        raise UserError(
            f"{checkpoint.source}: transformers {transformers.__version__} {what}: {type(err).__name__}: {reason}"
        ) from err


@contextmanager
def quietly() -> Iterator[None]:
    """Disables transformers' progress bars and warnings, which would overwrite ours."""
    their_logging.disable_progress_bar()
    level = their_logging.get_verbosity()
    their_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
