"""Each change that breaks callers is marked, and no other; the way to ship it is said."""

from typing import Any

import pytest

from ai102.release.changes import Change, breaking, changes, how_to_ship
from ai102.release.document import Batching, Bound, Goals, Model, Provenance, Speed, Tensor
from tests.release.documents import LABELS, MEASURED, NETWORK, PIPELINE, document, pipeline

IMAGE, TEXT = PIPELINE.inputs["image"], Tensor(data_type="BYTES", dims=(1,))
HINT = PIPELINE.inputs["hint"]
SCORE = PIPELINE.outputs["score"]


def inputs(**tensors: Tensor) -> dict[str, Model]:
    return pipeline(inputs={**PIPELINE.inputs, **tensors})


def outputs(**tensors: Tensor) -> dict[str, Model]:
    return pipeline(outputs={**PIPELINE.outputs, **tensors})


def without(kind: str, name: str) -> dict[str, Model]:
    return pipeline(**{kind: {key: each for key, each in getattr(PIPELINE, kind).items() if key != name}})


def batching(size: int) -> dict[str, Model]:
    return pipeline(batching=Batching(max_batch_size=size, is_dynamic=True))


def like(tensor: Tensor, **fields: Any) -> Tensor:
    return tensor.model_copy(update=fields)


# The models after the change, and why callers would fail.
BREAKS: dict[str, tuple[dict[str, Model], str]] = {
    "model removed": ({"classify": PIPELINE}, "callers of it get an error"),
    "input removed": (without("inputs", "image"), "requests with it are refused"),
    "optional input removed": (without("inputs", "hint"), "requests with it are refused"),
    "output removed": (without("outputs", "score"), "callers miss it"),
    "input added": (inputs(text=TEXT), "requests without it are refused"),
    "input no longer optional": (inputs(hint=like(HINT, is_optional=False)), "may no longer be left out"),
    "data type of an input": (inputs(image=like(IMAGE, data_type="UINT8")), "another data type"),
    "data type of an output": (outputs(score=like(SCORE, data_type="FP16")), "another data type"),
    "input narrower": (inputs(hint=like(HINT, dims=(4,))), "shapes that were taken are refused"),
    "input of another rank": (inputs(image=like(IMAGE, dims=(1, 1))), "shapes that were taken are refused"),
    "output wider": (outputs(score=like(SCORE, dims=(-1,))), "callers get a shape that they do not expect"),
    "output of another size": (outputs(score=like(SCORE, dims=(2,))), "callers get a shape"),
    "channels last": (
        {**pipeline(), "digits_int8": NETWORK.model_copy(update={"inputs": {
            "pixels": like(NETWORK.inputs["pixels"], format="NHWC")}})},
        "another order of the dimensions",
    ),
    "labels in another order": (pipeline(labels=("one", "zero", "two")), "a place of the scores means another label"),
    "label removed": (pipeline(labels=LABELS[:2]), "answers that callers know are no longer given"),
    "label renamed": (pipeline(labels=("null", *LABELS[1:])), "answers that callers know are no longer given"),
    "label added in front": (pipeline(labels=("new", *LABELS)), "a place of the scores means another label"),
    "labels of an output in another order": (
        {**pipeline(), "digits_int8": NETWORK.model_copy(update={"outputs": {
            "scores": like(NETWORK.outputs["scores"], labels=LABELS[::-1])}})},
        "a place of the scores means another label",
    ),
    "smaller batches": (batching(32), "larger batches are refused"),
    "no dimension of the batch": (batching(0), "lose the dimension of the batch"),
    "several answers a request": (pipeline(is_decoupled=True), "another number of answers"),
    "requests in sequences": (pipeline(is_stateful=True), "the id of a sequence"),
}  # fmt: skip
GOES_ON: dict[str, tuple[dict[str, Model], str]] = {
    "model added": ({**pipeline(), "more": PIPELINE}, "more: absent -> served"),
    "optional input added": (inputs(text=like(TEXT, is_optional=True)), "absent -> BYTES [1] optional"),
    "output added": (outputs(time=SCORE), "classify output time: absent -> FP32 [1]"),
    "input wider": (inputs(image=like(IMAGE, dims=(-1,))), "BYTES [1] -> BYTES [-1]"),
    "input may be left out": (inputs(image=like(IMAGE, is_optional=True)), "BYTES [1] -> BYTES [1] optional"),
    "label added at the end": (pipeline(labels=(*LABELS, "three")), "3 labels -> 4 labels, and three"),
    "larger batches": (batching(128), "max_batch_size: 64 -> 128"),
    "another version": (pipeline(versions=(2,)), "classify served: 1 -> 2"),
    "another engine": (pipeline(backend="openvino"), "classify backend: python -> openvino"),
}


def words(change: Change) -> str:
    return f"{change.subject}: {change.before} -> {change.after}"


@pytest.mark.parametrize(("models", "why"), BREAKS.values(), ids=BREAKS)
def test_what_breaks_callers_is_marked(models: dict[str, Model], why: str) -> None:
    broken = breaking(changes(document(), document(models=models)))
    assert [why in each.breaks for each in broken] == [True]


@pytest.mark.parametrize(("models", "shown"), GOES_ON.values(), ids=GOES_ON)
def test_what_callers_do_not_notice_is_listed_and_not_marked(models: dict[str, Model], shown: str) -> None:
    found = changes(document(), document(models=models))
    assert [shown in words(each) for each in found] == [True]
    assert breaking(found) == []


def test_an_output_that_was_free_may_be_fixed() -> None:
    free = document(models=outputs(score=like(SCORE, dims=(-1,))))
    assert breaking(changes(free, document())) == []


def test_the_same_release_differs_in_nothing() -> None:
    assert changes(document(), document()) == []


def test_accuracy_size_speed_goals_and_versions_are_told() -> None:
    slower = {"ms": {"batch 1": 0.2, "batch 8": 0.3}}
    now = MEASURED.model_copy(
        update={
            "size": 150_000,
            "budget": {"min_top1_percent": Bound(limit=98.5, measured=99.0)},
            "figures": {"int8_top1_percent": 99.0},
            "speed": Speed(batch=64, fp32_ms=2.0, int8_ms=2.0, ratio=1.0),
            "engine": MEASURED.engine.model_copy(update=slower) if MEASURED.engine else None,
        }
    )
    new = document(
        "d",
        measured={"digits_int8": now},
        pipelines={"classify": Goals(success_percent=99.9, p99_ms=50.0)},
        provenance=Provenance(revision="e" * 40, is_clean=True, versions={"ai102": "0.3.0", "onnxruntime": "1.32.0"}),
    )
    before = MEASURED.model_copy(update={"speed": Speed(batch=64, fp32_ms=2.0, int8_ms=1.0, ratio=2.0)})
    found = changes(document(measured={"digits_int8": before}), new)
    assert [f"{each.section}: {words(each)}" for each in found] == [
        "accuracy: digits_int8 min_top1_percent: 99.5 (budget 98.5) -> 99 (budget 98.5)",
        "accuracy: digits_int8 int8_top1_percent: 99.5 -> 99",
        "size: digits_int8: 0.10 MB -> 0.15 MB (+50.0%)",
        "speed: digits_int8 against FP32: 2.00x at batch 64 -> 1.00x at batch 64",
        "speed: digits_int8 batch 1: 0.1 ms -> 0.2 ms (+100%)",
        "goals: classify p99_ms: 100 -> 50",
        "versions: ai102: 0.2.0 -> 0.3.0",
        "images: models: models@bbbbbbbbbbbb -> models@dddddddddddd",
    ]
    assert breaking(found) == []


def test_times_of_another_machine_are_not_compared() -> None:
    assert MEASURED.engine is not None
    other = MEASURED.engine.model_copy(update={"cpu_name": "another CPU", "ms": {"batch 1": 9.0}})
    new = document(measured={"digits_int8": MEASURED.model_copy(update={"engine": other})})
    assert [words(each) for each in changes(document(), new)] == [
        "digits_int8 measured on: a CPU, 1 thread(s) -> another CPU, 1 thread(s): times are not compared"
    ]


def test_it_is_told_how_to_ship_what_breaks() -> None:
    changed = {"classify": PIPELINE.model_copy(update={"labels": LABELS[::-1]})}  # and digits_int8 is removed
    advice = how_to_ship(breaking(changes(document(), document(models=changed))))
    assert "serve what changed under another name beside classify" in advice
    assert "promote with --without digits_int8" in advice
