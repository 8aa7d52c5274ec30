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


def stale_int8(pipeline: Path) -> None:
    """INT8 weights of an older training beside the scales of this one."""
    random = np.random.default_rng(SEED)
    (file,) = pipeline.glob("1/*/model.onnx")
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.int8 and array.ndim >= 2:
            moved = np.rint(array * (1 + 0.25 * random.standard_normal(array.shape))).clip(-127, 127)
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.int8), tensor.name))
    file.unlink()
    onnx.save(model, file)


def older_version(pipeline: Path) -> None:
    """The release is version 2; its policy still names version 1, an older training."""
    shutil.copytree(pipeline / "1", pipeline / "2", symlinks=True)
    stale_weights(pipeline)
    _with_config(pipeline, r"\Z", "version_policy {\n  specific {\n    versions: 1\n  }\n}\n")


def without_batching(pipeline: Path) -> None:
    _with_config(pipeline, r"dynamic_batching \{\n\}\n", "")


def better_weights(pipeline: Path) -> None:
    """FP32 in place of INT8, a hair apart."""
    random = np.random.default_rng(SEED)

    def moved(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (array * (1 + 0.002 * random.standard_normal(array.shape))).astype(array.dtype)

    _with_weights(pipeline, moved)


def fp32(pipeline: Path) -> None:
    """FP32 in place of INT8."""
    _with_weights(pipeline, lambda name, array: array)


def exported_anew(pipeline: Path) -> None:
    """The same network, written by another exporter."""
    (file,) = pipeline.glob("1/*/model.onnx")
    model = onnx.load(file)
    model.producer_name, model.producer_version, model.doc_string = "another exporter", "2", "exported anew"
    file.unlink()
    onnx.save(model, file)


def retuned_batching(pipeline: Path) -> None:
    tuned = "dynamic_batching {\n  max_queue_delay_microseconds: 200\n  preferred_batch_size: 8\n}"
    _with_config(pipeline, r"dynamic_batching \{\n\}", tuned)


def in_order(pipeline: Path) -> None:
    _with_config(pipeline, r"dynamic_batching \{\n\}", "dynamic_batching {\n  preserve_ordering: true\n}")


def bounded_queue(pipeline: Path) -> None:
    """Calls that would wait for too long are refused."""
    policy = "default_queue_policy {\n    max_queue_size: 512\n  }"
    _with_config(pipeline, r"dynamic_batching \{\n\}", f"dynamic_batching {{\n  {policy}\n}}")


def two_instances(pipeline: Path) -> None:
    _with_config(pipeline, r"count: 1\n", "count: 2\n")


def pipeline_beside(pipeline: Path) -> None:
    """Another pipeline that nobody calls yet."""
    copy = pipeline.parent / f"{pipeline.name}_next"
    shutil.copytree(pipeline, copy, symlinks=True)
    _with_config(copy, rf'name: "{pipeline.name}"', f'name: "{copy.name}"')


def unchanged(pipeline: Path) -> None:
    """The release in service."""


Change = Callable[[Path], None]
# By name: the pipeline, and what is done to it.
BAD: Mapping[str, tuple[str, Change]] = {
    "labels shuffled": ("classify_image", labels_shuffled),
    "wrong resize": ("classify_image", wrong_resize),
    "inverted colours": ("classify_image", with_model("inverted_colours")),
    "orientation ignored": ("classify_image", with_model("exif_ignored")),
    "corrupted weights": ("classify_image", corrupted_weights),
    "stale weights": ("score_image", stale_weights),
    "stale INT8": ("classify_image", stale_int8),
    "wrong version policy": ("score_image", older_version),
    "scores in percent": ("classify_image", with_model("scores_in_percent")),
    "NaN for one class": ("score_image", with_model("nan_for_one_class")),
    "one answer": ("classify_image", with_model("one_answer")),
    "answers swapped": ("classify_image", with_model("answers_swapped")),
    "answers kept by length": ("classify_image", with_model("cached_by_length")),
    "garbage is answered": ("classify_image", with_model("answers_garbage")),
    "twice the latency": ("classify_image", with_model("twice_the_latency")),
    "slow at batch 8": ("classify_image", with_model("slow_at_batch_8")),
    "no batching": ("classify_image", without_batching),
    "no warm-up": ("classify_image", with_model("no_warm_up")),
    "slow load": ("classify_image", with_model("slow_load")),
    "leak of 2 MB a call": ("classify_image", with_model("leak")),
    "crash at the 500th call": ("classify_image", with_model("crash_at_the_500th")),
    "crash on large images": ("classify_image", with_model("crash_on_large_images")),
    "JPEG fails": ("classify_image", with_model("jpeg_fails")),
    "1 % errors": ("classify_image", with_model("one_percent_fails")),
    "deadlock": ("classify_image", with_model("deadlock")),
    "truncated tokenizer": ("embed_text", truncated),
}
GOOD: Mapping[str, tuple[str, Change]] = {
    "unchanged": ("classify_image", unchanged),
    "better weights": ("score_image", better_weights),
    "FP32": ("classify_image", fp32),
    "exported anew": ("classify_image", exported_anew),
    "retuned batching": ("classify_image", retuned_batching),
    "answers in order": ("classify_image", in_order),
    "bounded queue": ("classify_image", bounded_queue),
    "two instances": ("classify_image", two_instances),
    "a pipeline beside": ("classify_image", pipeline_beside),
    "a line of log for each call": ("classify_image", with_model("logs_each_call")),
}
RELEASES = {**BAD, **GOOD}


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


def _with_config(pipeline: Path, pattern: str, to: str) -> None:
    file = pipeline / "config.pbtxt"
    text, count = re.subn(pattern, to, file.read_text(encoding="utf-8"), count=1)
    assert count
    file.write_text(text, encoding="utf-8")
