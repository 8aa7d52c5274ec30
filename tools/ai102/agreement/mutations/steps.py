"""Mutations of how the tensors and batches of an ensemble fit those of its steps."""

from __future__ import annotations

from collections.abc import Mapping

from ai102.agreement.mutations.configs import BATCHED, ENSEMBLE_HEAD, IN, OUT, ensemble, step
from ai102.agreement.mutations.edits import CONFIG, Edit, Kind, kind, put


def of_one(model: str, x: str = "x", y: str = "y", head: str = ENSEMBLE_HEAD + BATCHED + IN + OUT) -> Edit:
    """An ensemble of one step."""
    return put(CONFIG, ensemble(head, step(model, {x: "x"}, {y: "y"})))


def head(x: str = "FP32 [ 4 ]", y: str = "FP32 [ 4 ]", batch: int = 8) -> str:
    (x_type, x_dims), (y_type, y_dims) = x.split(" ", 1), y.split(" ", 1)
    return (
        f"{ENSEMBLE_HEAD}max_batch_size: {batch}\n"
        f'input {{ name: "x" data_type: TYPE_{x_type} dims: {x_dims} }}\n'
        f'output {{ name: "y" data_type: TYPE_{y_type} dims: {y_dims} }}\n'
    )


def steps(*all_steps: str, of: str | None = None) -> Edit:
    return put(CONFIG, ensemble(of or ENSEMBLE_HEAD + BATCHED + IN + OUT, *all_steps))


TO_MIDDLE = step("part_double", {"x": "x"}, {"y": "middle"})
KINDS: Mapping[str, Kind] = {
    "type_of_a_step": kind(
        "chain",
        of_one("part_ints"),
        of_one("part_ints", head=head("INT64 [ 4 ]", "INT64 [ 4 ]")),
        of_one("part_ints", head=head("INT64 [ 4 ]")),
        of_one("part_text", y="text"),
        of_one("part_text", y="text", head=head(y="STRING [ 1 ]")),
        steps(TO_MIDDLE, step("part_ints", {"x": "middle"}, {"y": "y"}), of=head(y="INT64 [ 4 ]")),
    ),
    "dims_of_a_step": kind(
        "chain",
        of_one("part_any"),
        of_one("part_five"),
        of_one("part_five", head=head("FP32 [ 5 ]", "FP32 [ 5 ]")),
        of_one("part_double", head=head("FP32 [ -1 ]", "FP32 [ -1 ]")),
        of_one("part_double", head=head("FP32 [ -1 ]", "FP32 [ 5 ]")),
        of_one("part_double", head=head("FP32 [ 4, 1 ]")),
        of_one("part_double", head=head("FP32 [ 1, 4 ]")),
        of_one("part_any", head=head("FP32 [ 7 ]", "FP32 [ 9 ]")),
        of_one("part_any", head=head("FP32 [ -1, -1 ]")),
        of_one("part_square"),
        of_one("part_reshape"),
        of_one("part_reshape", head=head("FP32 [ 2, 2 ]")),
        steps(TO_MIDDLE, step("part_square", {"x": "middle"}, {"y": "y"}), of=head(y="FP32 [ 2, 2 ]")),
        steps(TO_MIDDLE, step("part_five", {"x": "middle"}, {"y": "y"}), of=head(y="FP32 [ 5 ]")),
        steps(TO_MIDDLE, step("part_any", {"x": "middle"}, {"y": "y"}), of=head(y="FP32 [ 5 ]")),
        steps(TO_MIDDLE, step("part_reshape", {"x": "middle"}, {"y": "y"})),
        of_one("part_double", head=head("FP32 [ 4 ] reshape { shape: [ 2, 2 ] }")),
        of_one("part_double", head=head("FP32 [ 2, 2 ] reshape { shape: [ 4 ] }")),
        most=20,
    ),
    "batches_of_a_step": kind(
        "chain",
        of_one("part_small"),
        of_one("part_small", head=head(batch=4)),
        of_one("part_small", head=head(batch=2)),
        of_one("part_flat"),
        of_one("part_flat", head=head(batch=0)),
        of_one("part_flat_batch"),
        of_one("part_flat_any"),
        of_one("part_flat_batch", head=head("FP32 [ 8, 4 ]", "FP32 [ 8, 4 ]", batch=0)),
        of_one("part_flat_any", head=head("FP32 [ 4 ]", batch=0)),
        of_one("part_double", head=head(batch=0)),
        of_one("part_double", head=head("FP32 [ 1, 4 ]", "FP32 [ 1, 4 ]", batch=0)),
        of_one("part_double", head=head("FP32 [ -1, 4 ]", "FP32 [ -1, 4 ]", batch=0)),
        of_one("part_double", head=head("FP32 [ 4, 4 ]", "FP32 [ 4, 4 ]", batch=0)),
        of_one("part_double", head=head(batch=-1)),
        steps(TO_MIDDLE, step("part_flat", {"x": "middle"}, {"y": "y"})),
        steps(TO_MIDDLE, step("part_flat_any", {"x": "middle"}, {"y": "y"}), of=head(batch=0)),
        most=18,
    ),
}
