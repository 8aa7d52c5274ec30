"""A checkpoint's weights as a PyTorch network that transformers builds, all of them its own."""

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
# One ONNX file, with its weights in it, cannot be larger.
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

    Raises UserError when it cannot be built, or when weights are missing, save those that begin with one of
    `unused`: transformers would make them up at random.
    """
    check_fits(checkpoint, task)
    with quietly(), told_in_one_line(checkpoint, f"cannot load it for {task}"):
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
        architecture = ", ".join(checkpoint.config.get("architectures") or ["of no name"])
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise UserError(
            f"{checkpoint.source}: its network is {architecture}, without {named}, which {task} needs: transformers "
            "would make them up at random; name a checkpoint that was trained for it"
        )
    size = sum(tensor.numel() * 4 for tensor in net.parameters())
    if size > MAX_BYTES:
        raise UserError(f"{checkpoint.source}: {size / 1e9:.1f} GB in float32; one ONNX file holds at most 2 GB")
    return net.eval()


def labels_of(checkpoint: Checkpoint, config: Any, wished: Collection[str]) -> list[str]:
    """The labels in the order of the scores: the checkpoint's own, or those a person wished.

    Raises UserError when they are not one a score, or cannot be lines of a file.
    """
    named: dict[int, str] = config.id2label
    if sorted(named) != list(range(len(named))):
        raise UserError(f"{checkpoint.source}: id2label names {sorted(named)[:5]}..., wanted 0, 1, 2 and so on")
    labels = [str(named[index]) for index in range(len(named))]
    if wished and len(wished) != len(labels):
        raise UserError(f"{checkpoint.source}: gives {len(labels)} scores and {len(wished)} labels were named")
    chosen = list(wished or labels)
    if unfit := next((label for label in chosen if label.splitlines() != [label]), None):
        raise UserError(f"{checkpoint.source}: a label is {unfit!r}: wanted each to be one line")
    if "" in chosen:
        raise UserError(f"{checkpoint.source}: label {chosen.index('')} is empty: name them with --labels FILE")
    return chosen


def activation_of(config: Any) -> Activation:
    """What transformers' classification pipelines apply to logits for a network of that config."""
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def activate(logits: Tensor, activation: Activation) -> Tensor:
    return _ACTIVATIONS[activation](logits)


@contextmanager
def told_in_one_line(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turns what transformers raises, which may be anything and many lines long, into a UserError."""
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
    """Our progress shows the step; transformers' bars and warnings would draw over it."""
    their_logging.disable_progress_bar()
    level = their_logging.get_verbosity()
    their_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
