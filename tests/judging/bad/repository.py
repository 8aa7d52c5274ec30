"""Bad and good releases of the reference repository, made by scripts: a folder with the changed pipeline alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = Path(__file__).parents[3]
SERVED = ROOT / "model_repository"
MODELS = Path(__file__).parent / "models"
FP32 = ROOT / "build" / "digits" / "fp32.onnx"
# The seed with which the weights below, moved by so much, still give 97.6 % top-1 on the test split.
MOVED, SEED = 0.14, 2


def copied(folder: Path, *pipelines: str) -> Path:
    """The pipelines as they are served; files that no release changes are links."""
    for name in pipelines:
        shutil.copytree(SERVED / name, folder / name, ignore=shutil.ignore_patterns("model.onnx", "tokenizer.json"))
        for pattern in ("*/*/model.onnx", "*/*/tokenizer.json", "*/model.onnx"):
            for file in (SERVED / name).glob(pattern):
                (folder / file.relative_to(SERVED)).symlink_to(file)
    return folder


def with_model(module: str) -> Callable[[Path], None]:
    """The pipeline's Python model is that file."""

    def change(pipeline: Path) -> None:
        shutil.copyfile(MODELS / f"{module}.py", pipeline / "1" / "model.py")

    return change


def labels_shuffled(pipeline: Path) -> None:
    file = pipeline / "labels.txt"
    labels = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*labels[3:], *labels[:3]]) + "\n", encoding="utf-8")


def wrong_resize(pipeline: Path) -> None:
    """The image is scaled to 10 pixels and its middle cut out, instead of scaled to 8."""
    _with_parameter(pipeline, "decode_image", {"shortest_edge": "10"})


def truncated(pipeline: Path) -> None:
    """Texts are cut after 16 tokens, not 256."""
    _with_parameter(pipeline, "tokenize_text", {"lengths": "16"})


def corrupted_weights(pipeline: Path) -> None:
    """Two layers lost their weights."""

    def zeroed(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.zeros_like(array) if name in ("blocks.2.conv2.weight", "blocks.1.conv1.weight") else array

    _with_weights(pipeline, zeroed)


def stale_weights(pipeline: Path) -> None:
    """Weights of another training, about two points worse."""
    random = np.random.default_rng(SEED)

    def moved(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (array * (1 + MOVED * random.standard_normal(array.shape))).astype(array.dtype)

    _with_weights(pipeline, moved)


def better_weights(pipeline: Path) -> None:
    """FP32 in place of INT8, a hair apart."""
    random = np.random.default_rng(SEED)

    def moved(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (array * (1 + 0.002 * random.standard_normal(array.shape))).astype(array.dtype)

    _with_weights(pipeline, moved)


def retuned_batching(pipeline: Path) -> None:
    file = pipeline / "config.pbtxt"
    text = file.read_text(encoding="utf-8")
    tuned = "dynamic_batching {\n  max_queue_delay_microseconds: 200\n  preferred_batch_size: 8\n}"
    file.write_text(re.sub(r"dynamic_batching \{\n\}", tuned, text), encoding="utf-8")


def unchanged(pipeline: Path) -> None:
    """The release in service."""


# By name: the pipeline, and what is done to it.
RELEASES: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "labels shuffled": ("classify_image", labels_shuffled),
    "wrong resize": ("classify_image", wrong_resize),
    "corrupted weights": ("classify_image", corrupted_weights),
    "stale weights": ("score_image", stale_weights),
    "NaN for one class": ("score_image", with_model("nan_for_one_class")),
    "one answer": ("classify_image", with_model("one_answer")),
    "twice the latency": ("classify_image", with_model("twice_the_latency")),
    "leak of 2 MB a call": ("classify_image", with_model("leak")),
    "crash at the 500th call": ("classify_image", with_model("crash_at_the_500th")),
    "1 % errors": ("classify_image", with_model("one_percent_fails")),
    "answers swapped": ("classify_image", with_model("answers_swapped")),
    "truncated tokenizer": ("embed_text", truncated),
    "better weights": ("score_image", better_weights),
    "retuned batching": ("classify_image", retuned_batching),
    "unchanged": ("classify_image", unchanged),
}


def make(name: str, folder: Path) -> tuple[Path, str]:
    """The release's model repository, written into `folder`, and the pipeline that it changes."""
    pipeline, change = RELEASES[name]
    change(copied(folder, pipeline) / pipeline)
    return folder, pipeline


def _with_parameter(pipeline: Path, kind: str, parameters: Mapping[str, str]) -> None:
    """Of a step, in the config of a pipeline that runs in one process."""
    file = pipeline / "config.pbtxt"
    text = file.read_text(encoding="utf-8")
    found = re.search(r'key: "steps"\s+value \{\s+string_value: "(.*)"\n', text)
    assert found
    steps = json.loads(found[1].replace('\\"', '"'))
    next(step for step in steps if step["kind"] == kind)["parameters"] |= parameters
    file.write_text(text.replace(found[1], json.dumps(steps).replace('"', '\\"')), encoding="utf-8")


def _with_weights(pipeline: Path, change: Callable[[str, np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    model = onnx.load(FP32)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim >= 2:
            tensor.CopyFrom(numpy_helper.from_array(change(tensor.name, array), tensor.name))
    (file,) = pipeline.glob("1/*/model.onnx")
    file.unlink()
    onnx.save(model, file)
