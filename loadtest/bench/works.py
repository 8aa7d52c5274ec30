"""The works of the benchmark: model files, samples, and the inputs of Triton's models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from PIL import Image
from tritonclient.grpc import model_config_pb2

from ai102 import artifact
from ai102.build import verbs as build_verbs
from ai102.build.workspace import Workspace
from ai102.configs import configure
from ai102.errors import UserError
from ai102.progress import Reporter
from ai102.samples.read import read_samples, tensors_of_items
from ai102_runtime.engine.cpu import this_cpu
from ai102_runtime.engine.record import judged_choice
from loadtest.bench.goals import ENSEMBLES, LARGE_DECODE, LARGE_ENSEMBLE, STEPS
from loadtest.bench.model import ONE_MS, write_one_ms

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "build" / "bench"
# A prime: with any number of requests in flight, each slot sends every sample in turn.
SAMPLES = 61
LARGE_SAMPLES = 13
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Work:
    """`samples` are the request bodies of peers; `inputs` holds, by Triton model, the inputs of each sample."""

    name: str
    about: str
    file: Path  # the input of peers/pipeline.py
    kind: str
    samples: tuple[bytes, ...]
    repository: Path
    model: str  # the Triton model that does the whole work
    outputs: tuple[str, ...]
    inputs: Mapping[str, tuple[Arrays, ...]]
    max_batch_size: int
    steps: tuple[str, ...] = field(default=())  # further models to measure
    class_count: int = 0  # for Triton's classification extension

    @property
    def engine(self) -> str:
        """The engine that Triton's backend computes the model by on this CPU."""
        return judged_choice(Path(json.loads(self.file.read_text(encoding="utf-8"))["model"]), this_cpu()).engine

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model, *self.steps)


def _image(report: Reporter) -> Work:
    repository = ROOT / "model_repository"
    items = _test_items("digits")
    config = _config(repository, "digits_decode")
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    image = {key: int(parameters[key]) for key in ("height", "width", "channels")}
    labels = (repository / "digits_label" / "labels.txt").read_text(encoding="utf-8").split("\n")
    spec = {
        "model": _model_file(repository, "digits_int8"),
        "input": "pixels",
        "output": "scores",
        "image": image
        | {key: parameters[key] for key in ("layout", "resample")}
        | {"max_megapixels": float(parameters["max_megapixels"])},
        "labels": [label for label in labels if label],
        "max_batch_size": _config(repository, "digits_int8").max_batch_size,
    }
    file = _write("image", "image", spec, items)
    images = tuple({"image": np.array([[item]], dtype=np.object_)} for item in items)
    pixels = [_tensor_rows(Workspace.of(ROOT / "models.toml"), "digits", items)[index] for index in range(len(items))]
    inputs = {
        "score_image": images,
        "classify_image": images,
        ENSEMBLES["image"]: images,
        "digits_decode": images,
        "digits_int8": tuple({"pixels": row} for row in pixels),
    }
    about = "an encoded 8x8 PNG in, its label out (digits, INT8)"
    return Work(
        "image", about, file, "image", items, repository, "score_image", ("scores",), inputs,
        spec["max_batch_size"], steps=(*STEPS["image"], "classify_image", ENSEMBLES["image"]), class_count=1,
    )  # fmt: skip


def _text(report: Reporter) -> Work:
    repository = ROOT / "model_repository"
    workspace = Workspace.of(ROOT / "models.toml")
    items = _test_items("minilm")
    parameters = {key: value.string_value for key, value in _config(repository, "minilm_tokenize").parameters.items()}
    tokenizer = next(iter(sorted((repository / "minilm_tokenize").glob("*/tokenizer.json"))), None)
    if tokenizer is None:
        raise UserError("model_repository/minilm_tokenize has no tokenizer.json: run `make engine`")
    spec = {
        "model": _model_file(repository, "minilm_int8"),
        "output": "sentence_embedding",
        "tokenizer": str(tokenizer),
        "lengths": [int(length) for length in parameters["lengths"].split(",")],
        "max_bytes": int(parameters["max_bytes"]),
        "max_batch_size": _config(repository, "minilm_int8").max_batch_size,
    }
    file = _write("text", "text", spec, items)
    texts = tuple({"text": np.array([[item]], dtype=np.object_)} for item in items)
    network, source = workspace.network("minilm"), workspace.source("minilm")
    tokens = tuple(tensors_of_items(network, [item], source.tokenizer_file) for item in items)
    inputs = {"embed_text": texts, ENSEMBLES["text"]: texts, "minilm_tokenize": texts, "minilm_int8": tokens}
    about = "UTF-8 text in, its embedding out (minilm, INT8)"
    return Work(
        "text", about, file, "text", items, repository, "embed_text", ("sentence_embedding",), inputs,
        spec["max_batch_size"], steps=(*STEPS["text"], ENSEMBLES["text"]),
    )  # fmt: skip


def _tensor(report: Reporter) -> Work:
    rows = _tensor_rows(Workspace.of(ROOT / "models.toml"), "digits", _test_items("digits"))
    return _raw(
        "tensor", "64 raw bytes in, 10 floats out (digits, INT8)", ROOT / "model_repository", "digits_int8", rows
    )


def _resnet50(precision: str, report: Reporter) -> Work:
    contract = ROOT / "loadtest" / "resnet50.toml"
    workspace = Workspace.of(contract)
    build_verbs.engine(workspace, "resnet50", report)
    configure.write(workspace.contract, workspace.repository)
    items = _test_items("digits", LARGE_SAMPLES)
    rows = _tensor_rows(workspace, "resnet50", items)
    about = f"150,528 raw bytes in, 10 floats out (ResNet-50 at 224x224, {precision.upper()}, random weights)"
    work = _raw(f"resnet50_{precision}", about, workspace.repository, f"resnet50_{precision}", rows)
    if precision == "fp32":
        return work
    images = tuple({"image": np.array([[_large_jpeg(item)]], dtype=np.object_)} for item in items)
    steps = (LARGE_ENSEMBLE, LARGE_DECODE)
    return replace(work, inputs={**work.inputs, **dict.fromkeys(steps, images)}, steps=steps)


def _large_jpeg(item: bytes) -> bytes:
    """The image in the network's size, as a client sends it that scales images itself."""
    file = BytesIO()
    Image.open(BytesIO(item)).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def _one_ms(report: Reporter) -> Work:
    repository = BENCH / "repository"
    with report.step("a model of one millisecond"):
        write_one_ms(repository)
    rows = list(np.random.default_rng(0).normal(size=(SAMPLES, 1, *ONE_MS)).astype(np.float32))
    return _raw(
        "one_ms", "8 KB of raw floats in, 8 floats out (convolutions of about 1 ms)", repository, "one_ms", rows
    )


MAKERS: Mapping[str, Callable[[Reporter], Work]] = {
    "image": _image,
    "text": _text,
    "tensor": _tensor,
    "resnet50_int8": partial(_resnet50, "int8"),
    "resnet50_fp32": partial(_resnet50, "fp32"),
    "one_ms": _one_ms,
}


def _raw(name: str, about: str, repository: Path, model: str, rows: list[NDArray[Any]]) -> Work:
    config = _config(repository, model)
    input_name, output = config.input[0].name, config.output[0].name
    items = tuple(row.tobytes() for row in rows)
    spec = {
        "model": _model_file(repository, model),
        "input": input_name,
        "output": output,
        "dtype": str(rows[0].dtype),
        "dims": list(rows[0].shape[1:]),
        "max_batch_size": config.max_batch_size,
    }
    file = _write(name, "tensor", spec, items)
    inputs = {model: tuple({input_name: row} for row in rows)}
    return Work(name, about, file, "tensor", items, repository, model, (output,), inputs, config.max_batch_size)


def _test_items(name: str, count: int = SAMPLES) -> tuple[bytes, ...]:
    return tuple(read_samples(ROOT / "calibration" / "sets", name, "test").items[:count])


def _tensor_rows(workspace: Workspace, name: str, items: tuple[bytes, ...]) -> list[NDArray[Any]]:
    arrays = tensors_of_items(workspace.network(name), items, None)
    (array,) = arrays.values()
    return [array[index : index + 1] for index in range(len(array))]


def _config(repository: Path, model: str) -> Any:
    file = repository / model / "config.pbtxt"
    if not file.is_file():
        raise UserError(f"{file} is missing: run `make engine`")
    return text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def _model_file(repository: Path, model: str) -> str:
    """The model file of the highest version, which Triton serves."""
    files = sorted((repository / model).glob("*/model.onnx"), key=lambda file: int(file.parent.name))
    if not files:
        raise UserError(f"{repository / model} has no model.onnx: run `make engine`")
    return str(files[-1])


def _write(name: str, kind: str, spec: Mapping[str, Any], items: tuple[bytes, ...]) -> Path:
    folder = BENCH / "works" / name
    samples = folder / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(items):
        (samples / f"{number:04}").write_bytes(item)
    file = folder / "work.json"
    artifact.write_text(file, json.dumps({"kind": kind, "samples": str(samples), **spec}, indent=1) + "\n")
    return file
