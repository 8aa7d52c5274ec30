"""Every key of a network's table, flipped: which steps must run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from ai102.build.contract_inputs import SERVING, contract_inputs
from ai102.build.served_files import ServedFiles
from ai102.build.steps import calibrate, choose_engine, export, install, quantize, quantize_for_tensorrt
from ai102.build.subject import Subject
from ai102.contract import Network
from ai102.int8.recipes import recipe_of
from ai102.samples.sets import Samples
from ai102.weights.source import Source

IMAGE = {
    "source": "train:digits", "task": "image-classification",
    "inputs": [{"name": "pixels", "type": "FP32", "dims": [1, 8, 8], "layout": "NCHW"}],
    "outputs": [{"name": "scores", "type": "FP32", "dims": [3]}],
    "labels": ["a", "b", "c"], "image": {"mean": [0.5], "std": [0.5]},
    "calibration_set": "digits", "budget": {"max_top1_drop_points": 1.0}, "latency_goal": {"p99_ms": 10.0},
    "batching": {"max_batch_size": 16}, "warmup": {"batch_sizes": [1]}, "quantization": {},
}  # fmt: skip
TEXT = {
    "source": "hf:some/one", "task": "text-embedding",
    "inputs": [{"name": name, "type": "INT64", "dims": [-1]} for name in ("input_ids", "attention_mask")],
    "outputs": [{"name": "embedding", "type": "FP32", "dims": [4]}], "text": {"lengths": [16, 32]},
    "calibration_set": "texts", "budget": {"min_mean_cosine": 0.99}, "latency_goal": {"p99_ms": 10.0},
    "batching": {"max_batch_size": 16}, "quantization": {},
}  # fmt: skip

EXPORT, CALIBRATE, QUANTIZE, TENSORRT, INSTALL = "export", "calibrate", "quantize", "quantize for TensorRT", "install"
ENGINE = "choose engine"
NONE: set[str] = set()
QUANTIZED = {QUANTIZE, TENSORRT}
JUDGED = {*QUANTIZED, ENGINE}
SAMPLES = {EXPORT, CALIBRATE, *JUDGED}
ALL = {*SAMPLES, INSTALL}
# By key: another value and the steps that must run again. A key that is served alone changes config.pbtxt at most.
FLIPS: dict[str, tuple[Any, set[str]]] = {
    # The source's identity says which weights they are.
    "source": ("train:other", NONE),
    "allow_pickle": (True, NONE),
    "sha256": ("0" * 64, NONE),
    "task": ("tensors", SAMPLES),
    "inputs.name": ("other", ALL),
    "inputs.type": ("UINT8", ALL),
    "inputs.dims": ([1, 9, 9], ALL),
    "inputs.layout": ("NHWC", ALL),
    "outputs.name": ("other", ALL),
    "outputs.type": ("FP16", ALL),
    "outputs.dims": ([4], ALL),
    "outputs.layout": ("NHWC", ALL),
    "labels": (["c", "b", "a"], JUDGED),
    "image.shortest_edge": (16, SAMPLES),
    "image.resample": ("lanczos", SAMPLES),
    "image.max_megapixels": (1.0, SAMPLES),
    "image.mean": ([0.4], SAMPLES),
    "image.std": ([0.4], SAMPLES),
    "text.lengths": ([16, 64], SAMPLES),
    "text.max_bytes": (5, NONE),
    "text.pad_id": (7, SAMPLES),
    "calibration_set": ("other", NONE),  # the samples' own hashes count
    "budget.min_top1_percent": (98.0, JUDGED),
    "budget.max_top1_drop_points": (0.5, JUDGED),
    "budget.min_mean_cosine": (0.5, JUDGED),
    "budget.min_cosine": (0.5, JUDGED),
    "budget.min_nearest_neighbour_percent": (50.0, JUDGED),
    "budget.min_token_agreement_percent": (50.0, JUDGED),
    "latency_goal": ({"p99_ms": 5.0}, NONE),
    "batching.max_batch_size": (8, {QUANTIZE, ENGINE}),  # it is timed at that batch
    "batching.max_queue_delay_us": (100, NONE),
    "batching.preferred_batch_sizes": ([8], NONE),
    "batching.preserve_ordering": (True, NONE),
    "batching.queue": ({"max_size": 1}, NONE),
    "batching.priorities": ({"levels": 2}, NONE),
    "engine": ("openvino", {ENGINE}),
    "instances": ({"count": 2}, {ENGINE}),
    "versions": ({"keep": 3}, NONE),
    "warmup": ({"batch_sizes": [1, 2]}, NONE),
    "response_cache": (True, NONE),
    "parameters": ({"a": "b"}, NONE),
    "quantization.method": ("entropy", {CALIBRATE, *QUANTIZED}),
    "quantization.percentile": (99.0, {CALIBRATE, *QUANTIZED}),
    "quantization.smoothing": (0.5, QUANTIZED),
    "quantization.keep_float": (["head"], QUANTIZED),
    "tensorrt.opt_batch_size": (8, NONE),
    "tensorrt.workspace_mb": (1, NONE),
    "tensorrt.optimization_level": (1, NONE),
    "tensorrt.float_precision": ("fp32", {TENSORRT}),
    "tensorrt.hardware_compatibility": ("ampere_plus", NONE),
    "tensorrt.version_compatible": (True, NONE),
    "tensorrt.cuda_graphs": (True, NONE),
    "allow_nonfinite": (True, NONE),
}
# Tables that only serve: none of their keys can matter, whichever are added.
WHOLE_TABLES = {key for key in SERVING if key in Network.model_fields or key.startswith("batching.")}


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of the table and of the tables in it, dotted."""
    for key, field in model.model_fields.items():
        inner = table_in(field.annotation)
        if inner is None or prefix + key in WHOLE_TABLES:
            yield prefix + key
        else:
            yield from keys_of(inner, f"{prefix}{key}.")


def table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType, Annotated):
        return next((table for part in get_args(annotation) if (table := table_in(part))), None)
    return None


def network_of(table: dict[str, Any], key: str = "", value: Any = None) -> Network:
    """The network with one key flipped; what the flip makes of other rules of the contract does not matter here."""
    network = Network.model_validate(table)
    return changed(network, key.split("."), value) if key else network


def changed(model: Any, path: list[str], value: Any) -> Any:
    if isinstance(model, tuple):
        return (changed(model[0], path, value), *model[1:])
    field, *inner = path
    if inner:
        value = changed(getattr(model, field), inner, value)
    elif isinstance(value, dict | list):
        value = type(model).model_validate({**model.model_dump(), field: value}).__getattribute__(field)
    return model.model_copy(update={field: value})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("fp32.onnx", "ranges.json"):
        (tmp_path / name).write_text(name)
    return tmp_path / "fp32.onnx", tmp_path / "ranges.json"


def inputs_of_steps(network: Network, files: tuple[Path, Path]) -> dict[str, dict[str, str]]:
    samples, source = Samples((), (), "sha"), Source(identity="weights")
    chosen = recipe_of(network, Path("none.toml"))
    return {
        EXPORT: export.made_from(network, source, samples),
        CALIBRATE: calibrate.made_from(network, files[0], samples, chosen.recipe),
        QUANTIZE: quantize.made_from(network, *files, samples, samples, chosen),
        TENSORRT: quantize_for_tensorrt.made_from(network, *files, samples, chosen.recipe),
        ENGINE: choose_engine.made_from(
            network, choose_engine.Files({"fp32": files[0]}, "fp32"), samples, samples, None
        ),
        INSTALL: install.made_from(Subject("net", network, source, None, Path()), {}, ServedFiles({})),  # type: ignore[arg-type]
    }


def test_every_key_of_the_contract_has_a_row() -> None:
    assert sorted(keys_of(Network)) == sorted(FLIPS)


@pytest.mark.parametrize("key", FLIPS)
def test_a_flipped_key_makes_the_steps_that_depend_on_it_run_again(key: str, files: tuple[Path, Path]) -> None:
    value, steps = FLIPS[key]
    table = TEXT if key.startswith("text.") else IMAGE
    before = inputs_of_steps(network_of(table), files)
    after = inputs_of_steps(network_of(table, key, value), files)
    assert {step for step in before if before[step] != after[step]} == steps


def test_a_key_that_no_list_names_counts_for_every_step() -> None:
    class Larger(Network):
        new_key: int = 1

    network = Larger.model_validate(IMAGE)
    other = network.model_copy(update={"new_key": 2})
    for step in (EXPORT, CALIBRATE, QUANTIZE, TENSORRT, ENGINE, INSTALL, "search"):
        assert contract_inputs(step, network) != contract_inputs(step, other)  # type: ignore[arg-type]


def test_no_batch_dimension_at_all_counts_for_every_step(files: tuple[Path, Path]) -> None:
    before = inputs_of_steps(network_of(IMAGE), files)
    after = inputs_of_steps(network_of(IMAGE, "batching.max_batch_size", 0), files)
    assert [step for step in before if before[step] == after[step]] == []
