"""What each task requires of a network's tensors, labels, text and budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from ai102.contract.serving import Batching
from ai102.contract.tables import Budget, ImageOptions, Tensor, TextOptions
from ai102_runtime.data_types import DATA_TYPES

Task = Literal["image-classification", "text-classification", "text-embedding", "token-classification", "tensors"]
TASKS: tuple[Task, ...] = get_args(Task)
TEXT_TASKS = ("text-classification", "text-embedding", "token-classification")
FLOATS = tuple(kind.name for kind in DATA_TYPES if kind.is_float)


class Network(Protocol):
    """The properties of a network that its task checks."""

    @property
    def task(self) -> Task: ...
    @property
    def inputs(self) -> tuple[Tensor, ...]: ...
    @property
    def outputs(self) -> tuple[Tensor, ...]: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def image(self) -> ImageOptions: ...
    @property
    def image_size(self) -> tuple[int, int, int]: ...
    @property
    def text(self) -> TextOptions | None: ...
    @property
    def batching(self) -> Batching: ...
    @property
    def budget(self) -> Budget | None: ...


@dataclass(frozen=True)
class _Rule:
    check: Callable[[Network], None]  # raises a ValueError that begins with the key
    budget_keys: tuple[str, ...]  # the bounds that apply to the task; the first is required
    budget_example: str


def check(net: Network) -> None:
    """Raises ValueError, beginning with the wrong key, when the network does not fit its task."""
    rule = _RULES[net.task]
    rule.check(net)
    is_text = net.task in TEXT_TASKS
    if is_text and net.text is None:
        raise ValueError("text is missing: write text = { lengths = [16, 32, 64, 128] }")
    if not is_text and net.text is not None:
        raise ValueError(f"text is set but the task is {net.task}: drop it")
    if net.batching.max_batch_size == 0 and net.task != "tensors":
        raise ValueError(
            f"batching.max_batch_size is 0, but a network for {net.task} has a batch dimension: write 1 or more"
        )
    if net.budget:
        _check_budget(net.budget, rule)


def budget_example(task: Task) -> str:
    """What to write after `budget =` for a network of that task."""
    return _RULES[task].budget_example


def _check_budget(budget: Budget, rule: _Rule) -> None:
    unfit = [key for key, bound in budget if bound is not None and key not in rule.budget_keys]
    if unfit or getattr(budget, rule.budget_keys[0]) is None:
        why = f"holds {unfit[0]}, which this task does not have" if unfit else f"has no {rule.budget_keys[0]}"
        raise ValueError(f"budget {why}: write for example budget = {rule.budget_example}")


def _check_image_classification(net: Network) -> None:
    tensor = net.inputs[0]
    if len(net.inputs) != 1 or tensor.type not in ("UINT8", "FP32") or tensor.layout is None:
        raise ValueError(
            'inputs must be one image of type "UINT8" or "FP32" with a layout: write '
            '[{ name = "pixels", type = "UINT8", dims = [3, 224, 224], layout = "NCHW" }]'
        )
    if -1 in tensor.dims:
        raise ValueError(f"inputs[0].dims is {list(tensor.dims)}: write the fixed size images are scaled to")
    height, width, channels = net.image_size
    if channels not in (1, 3):
        raise ValueError(f"inputs[0].dims has {channels} channels: write 1 (grey) or 3 (RGB)")
    if (net.image.mean or net.image.std) and tensor.type == "UINT8":
        raise ValueError('image.mean and std are set but the pixels are UINT8: drop them or write type = "FP32"')
    if net.image.mean and len(net.image.mean) != channels:
        raise ValueError(f"image.mean has {len(net.image.mean)} entries for {channels} channels: write one for each")
    if net.image.shortest_edge and net.image.shortest_edge < max(height, width):
        raise ValueError(
            f"image.shortest_edge is {net.image.shortest_edge}, less than the crop of {height}x{width}: "
            "write at least that"
        )
    _check_scores(net)


def _check_text_classification(net: Network) -> None:
    _check_token_inputs(net)
    _check_scores(net)


def _check_scores(net: Network) -> None:
    if len(net.outputs) != 1 or len(net.outputs[0].dims) != 1 or net.outputs[0].type != "FP32":
        raise ValueError('outputs must be one row of scores: write [{ name = "scores", type = "FP32", dims = [10] }]')
    _check_labels(net)


def _check_token_classification(net: Network) -> None:
    _check_token_inputs(net)
    output = net.outputs[0]
    if len(net.outputs) != 1 or len(output.dims) != 2 or output.dims[0] != -1 or output.type != "FP32":
        raise ValueError(
            'outputs must be one row of scores per token: write [{ name = "scores", type = "FP32", dims = [-1, 9] }]'
        )
    _check_labels(net)


def _check_labels(net: Network) -> None:
    if len(net.labels) != net.outputs[0].dims[-1]:
        raise ValueError(
            f"labels has {len(net.labels)} entries but outputs[0].dims is {list(net.outputs[0].dims)}: "
            "write one label per score, in order"
        )


def _check_text_embedding(net: Network) -> None:
    _check_token_inputs(net)
    if len(net.outputs) != 1 or len(net.outputs[0].dims) != 1 or net.outputs[0].type != "FP32":
        raise ValueError('outputs must be one vector: write [{ name = "embedding", type = "FP32", dims = [384] }]')
    if net.labels:
        raise ValueError("labels is set but the task is text-embedding: drop it")


def _check_token_inputs(net: Network) -> None:
    if [(t.name, t.type, t.dims) for t in net.inputs] != [
        ("input_ids", "INT64", (-1,)),
        ("attention_mask", "INT64", (-1,)),
    ]:
        raise ValueError('inputs must be input_ids and attention_mask, both type = "INT64", dims = [-1]')


def _check_tensors(net: Network) -> None:
    if net.labels and (len(net.outputs) != 1 or net.outputs[0].dims[-1:] != (len(net.labels),)):
        raise ValueError(
            f"labels has {len(net.labels)} entries but no single output has that as its last dimension: "
            "write one label per score, or drop labels"
        )
    if net.budget and net.outputs[0].type not in FLOATS:
        raise ValueError(
            f"budget is set but outputs[0] is {net.outputs[0].type}: a cosine needs floats; drop the budget"
        )


_TOP1 = ("max_top1_drop_points", "min_top1_percent")
_COSINE = ("min_mean_cosine", "min_cosine", "min_nearest_neighbour_percent")
_RULES: dict[str, _Rule] = {
    "image-classification": _Rule(_check_image_classification, _TOP1, "{ max_top1_drop_points = 0.5 }"),
    "text-classification": _Rule(_check_text_classification, _TOP1, "{ max_top1_drop_points = 0.5 }"),
    "text-embedding": _Rule(_check_text_embedding, _COSINE, "{ min_mean_cosine = 0.99 }"),
    "token-classification": _Rule(
        _check_token_classification, ("min_token_agreement_percent",), "{ min_token_agreement_percent = 99 }"
    ),
    "tensors": _Rule(_check_tensors, _COSINE, "{ min_mean_cosine = 0.99 }"),
}
