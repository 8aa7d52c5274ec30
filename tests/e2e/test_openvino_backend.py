"""The OpenVINO backend inside a real server, beside the ONNX Runtime one with the same files."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from ai102 import contract
from ai102.samples.read import read_samples
from ai102.serve.server import Server
from ai102_runtime.openvino.library import ov
from ai102_runtime.transforms.images import pixels_from_image

from .callers import JOINED, Caller, parameters, together
from .conftest import Files, StartServer
from .onnx_files import ONNX_FROM_TRITON, addition, every_type, external, identity, plus

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
CONTRACT = contract.load(ROOT / "models.toml")
ONE_INSTANCE = "instance_group { kind: KIND_CPU count: 1 }\n"
ONNX = 'backend: "openvino" default_model_filename: "model.onnx"\n' + ONE_INSTANCE
TYPES = {name: name.lower() for name in ONNX_FROM_TRITON if name not in ("BF16", "FP64", "BYTES")}
ENGINES = {
    "onnxruntime": 'platform: "onnxruntime_onnx"\n' + ONE_INSTANCE + parameters({"intra_op_thread_count": "1"}),
    "openvino": ONNX + parameters({"INFERENCE_NUM_THREADS": "1"}),
}
EVERY_PARAMETER = {
    "INFERENCE_NUM_THREADS": "2",
    "COMPILATION_NUM_THREADS": "1",
    "NUM_STREAMS": "AUTO",
    "PERFORMANCE_HINT": "latency",
    "HINT_BF16": "YES",
    "SKIP_OV_DYNAMIC_BATCHSIZE": "yes",
    "ENABLE_BATCH_PADDING": "YES",
    "RESHAPE_IO_LAYERS": "no",
    "TARGET_DEVICE": "CPU",
    "unknown_to_us": "ignored",
}


def as_ir(onnx_model: onnx.ModelProto, folder: Path, layout: str = "") -> dict[str, bytes]:
    """OpenVINO's own files of the model."""
    converted = ov.Core().read_model(onnx_model.SerializeToString())
    for port in (*converted.inputs, *converted.outputs) if layout else ():
        ov.layout_helpers.set_layout(port, ov.Layout(layout))
    ov.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    return {f"1/model.{ending}": (folder / f"model.{ending}").read_bytes() for ending in ("xml", "bin")}


def good(folder: Path) -> dict[str, Files]:
    return {
        "types": {"1/model.onnx": every_type(TYPES), "config.pbtxt": ONNX},
        "no_config": as_ir(plus(4), folder),
        "layout": as_ir(plus(5), folder, "N?"),
        "addition": {"1/model.onnx": addition(), "config.pbtxt": ONNX + JOINED},
        "finite": {
            "1/model.onnx": identity(),
            "config.pbtxt": ONNX + JOINED + parameters({"refuse_nonfinite": "true"}),
        },
        "fixed": {"1/model.onnx": addition([2, 3]), "config.pbtxt": ONNX},
        "folder": {
            **{f"1/model.onnx/{name}": content for name, content in external(7).items()},
            "config.pbtxt": ONNX,
        },
        "reshaped": {
            "1/model.onnx": plus(1, [4, 2]),
            "config.pbtxt": ONNX
            + 'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] }'
            + 'output { name: "y" data_type: TYPE_FP32 dims: [ -1, 2 ] }'
            + parameters({"RESHAPE_IO_LAYERS": "YES"}),
        },
        "tuned": {
            "1/model.onnx": plus(2),
            "config.pbtxt": ONNX.replace("count: 1", "count: 2") + parameters(EVERY_PARAMETER),
        },
    }


def bad(folder: Path) -> dict[str, tuple[Files, str]]:
    """Models that must not load, and why."""
    xml = as_ir(plus(1), folder)["1/model.xml"]
    asked = {
        "INFERENCE_NUM_THREADS": ("two", "write a whole number"),
        "NUM_STREAMS": ("-1", "write AUTO, NUMA or a whole number"),
        "HINT_BF16": ("NO", "write YES, or leave it out"),
        "PERFORMANCE_HINT": ("FAST", "write LATENCY or THROUGHPUT"),
        "ENABLE_BATCH_PADDING": ("1", "write YES or NO"),
        "TARGET_DEVICE": ("GPU", "this backend computes on the CPU"),
        "CPU_EXTENSION_PATH": ("/nowhere/ops.so", "CPU_EXTENSION_PATH"),
    }
    return {
        "empty": ({"1/model.onnx": b"", "config.pbtxt": ONNX}, "1/model.onnx is not a whole model file"),
        "cut": (
            {"1/model.onnx": plus(1).SerializeToString()[:40], "config.pbtxt": ONNX},
            "1/model.onnx is not a whole model file",
        ),
        "no_weights": ({"1/model.xml": xml}, "has its weights in model.bin, which is missing"),
        "other_weights": ({"1/model.xml": xml, "1/model.bin": b""}, "does not go with the .bin beside it"),
        "other_dims": (
            {
                "1/model.onnx": plus(1),
                "config.pbtxt": ONNX
                + JOINED
                + 'input { name: "x" data_type: TYPE_FP32 dims: 3 } output { name: "y" data_type: TYPE_FP32 dims: 2 }',
            },
            "for input 'x', the file says [-1, 2]: write dims: [2]",
        ),
        "text": ({"1/model.onnx": identity("BYTES"), "config.pbtxt": ONNX}, "input 'x' is STRING"),
        **{
            key.lower(): (
                {"1/model.onnx": plus(1), "config.pbtxt": ONNX + parameters({key: value})},
                reason,
            )
            for key, (value, reason) in asked.items()
        },
    }


def side_by_side() -> dict[str, Files]:
    """Networks of this repository in each engine, with one config but for the engine."""
    models: dict[str, Files] = {}
    for name in ("digits_int8", "minilm_int8", "minilm_fp32"):
        file = ROOT / "model_repository" / name / "1" / "model.onnx"
        if not file.is_file():
            pytest.skip(f"{file.relative_to(ROOT)} is missing: run `make engine`")
        for engine, config in ENGINES.items():
            models[f"{name}_{engine}"] = {
                "1/model.onnx": file,
                "config.pbtxt": config + "max_batch_size: 32\n",
            }
    return models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ir")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this server keeps compiled models."""
    home = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home))
        yield home / "ai102" / "openvino"
    shutil.rmtree(home)  # 150 MB


@pytest.fixture(scope="module")
def server(start_server: StartServer, folder: Path, cache: Path) -> Server:
    served = good(folder) | side_by_side()
    broken = {name: files for name, (files, _) in bad(folder).items()}
    return start_server(
        served | broken,
        extra_arguments=[
            "--backend-config=openvino,default-max-batch-size=6",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in sorted(served)),
        ],
    )


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Caller]:
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        yield Caller(grpcclient, client)


def infer(grpc: Caller, name: str, arrays: dict[str, NDArray[Any]], *outputs: str) -> list[NDArray[Any]]:
    types = {"float32": "FP32", "int64": "INT64", "uint8": "UINT8"}
    sent = {key: (types[array.dtype.name], array) for key, array in arrays.items()}
    answer = grpc.infer(name, sent, list(outputs))
    return [answer[output] for output in outputs]


def test_both_engines_find_the_same_digits(grpc: Caller) -> None:
    test = read_samples(ROOT / "calibration" / "sets", "digits", "test")
    decoded = [
        pixels_from_image(image, height=8, width=8, channels=1, layout="NCHW", resample="box", max_megapixels=1)
        for image in test.items[:256]
    ]
    pixels = np.stack(decoded)
    labels = {}
    for engine in ENGINES:
        batches = [infer(grpc, f"digits_int8_{engine}", {"pixels": part}, "scores")[0] for part in np.split(pixels, 8)]
        labels[engine] = np.concatenate(batches).argmax(axis=1)
    right = {engine: float((found == test.labels[:256]).mean()) for engine, found in labels.items()}
    assert min(right.values()) * 100 >= CONTRACT.networks["digits"].budget.min_top1_percent, right


@pytest.mark.parametrize(("name", "least_cosine"), [("minilm_fp32", 0.99999), ("minilm_int8", 0.995)])
@pytest.mark.parametrize("rows", [1, 8])
def test_both_engines_embed_a_text_alike(grpc: Caller, name: str, least_cosine: float, rows: int) -> None:
    ids = np.random.default_rng(0).integers(1000, 20000, (rows, 32))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    one, other = (infer(grpc, f"{name}_{engine}", feeds, "sentence_embedding")[0] for engine in ENGINES)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    assert ((one * other).sum(axis=1) / lengths).min() >= least_cosine


def test_every_type_comes_back_as_it_was_sent(grpc: Caller) -> None:
    dtypes = {"BOOL": bool, "FP16": np.float16, "FP32": np.float32}
    arrays = {name: np.array([[1, 0]], dtypes.get(triton, name)) for triton, name in TYPES.items()}
    sent = {f"in_{name}": (triton, arrays[name]) for triton, name in TYPES.items()}
    answer = grpc.infer("types", sent, [f"out_{name}" for name in TYPES.values()])
    assert {name: answer[f"out_{name}"].tolist() for name in arrays} == {
        name: array.tolist() for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    ("name", "max_batch_size", "dims"), [("no_config", 0, ["-1", "2"]), ("layout", 6, ["2"]), ("fixed", 0, ["2", "3"])]
)
def test_config_is_filled_in_from_the_file(grpc: Caller, name: str, max_batch_size: int, dims: list[str]) -> None:
    config = grpc.client.get_model_config(name, as_json=True)["config"]
    assert (config.get("max_batch_size", 0), config["input"][0]["dims"]) == (max_batch_size, dims)
    assert ("dynamic_batching" in config) == (max_batch_size > 1)


@pytest.mark.parametrize(
    ("name", "added"), [("no_config", 4), ("layout", 5), ("folder", 7), ("reshaped", 1), ("tuned", 2)]
)
def test_a_file_of_each_kind_answers(grpc: Caller, name: str, added: float) -> None:
    for rows in (1, 3):
        (y,) = infer(grpc, name, {"x": np.zeros((rows, 2), np.float32)}, "y")
        assert y.tolist() == [[added, added]] * rows


def test_joined_requests_of_different_size_get_their_own_rows(grpc: Caller) -> None:
    arrays = [np.full((size, 3), place, np.float32) for place, size in enumerate([1, 2, 1])]
    sent = [{"a": ("FP32", array), "b": ("FP32", np.ones_like(array))} for array in arrays]
    answers = together(grpc, "addition", sent)
    assert [answer.as_numpy("sum").tolist() for answer in answers] == [(array + 1).tolist() for array in arrays]


def test_one_bad_request_does_not_fail_those_joined_with_it(grpc: Caller) -> None:
    good_one, bad_one = np.zeros((1, 2), np.float32), np.array([[1, np.nan]], np.float32)
    sent = [{"x": ("FP32", array)} for array in (good_one, bad_one, good_one, good_one)]
    answers = together(grpc, "finite", sent)
    assert [isinstance(answer, InferenceServerException) for answer in answers] == [False, True, False, False]
    message = answers[1].message()
    assert (answers[1].status(), "send finite numbers only" in message) == ("StatusCode.INVALID_ARGUMENT", True)


def test_shapes_that_do_not_go_together_are_refused(grpc: Caller) -> None:
    with pytest.raises(InferenceServerException) as caught:
        infer(grpc, "addition", {"a": np.ones((1, 2), np.float32), "b": np.ones((1, 3), np.float32)}, "sum")
    message = caught.value.message()
    facts = (caught.value.status(), "shapes are inconsistent, in a step" in message, "\n" in message, "/" in message)
    assert facts == ("StatusCode.INVALID_ARGUMENT", True, False, False), message


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("finite", np.array([[1, np.nan]], np.float32), "input 'x' holds NaN or infinity: send finite numbers only"),
        ("finite", np.ones((9, 2), np.float32), "batch-size must be <= 8"),
        ("finite", np.ones((1, 5), np.float32), "unexpected shape"),
    ],
)
def test_a_bad_request_is_answered_in_one_sentence(grpc: Caller, name: str, array: NDArray[Any], reason: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        infer(grpc, name, {"x": array}, "y")
    assert (caught.value.status(), reason in caught.value.message()) == ("StatusCode.INVALID_ARGUMENT", True)


def test_what_cannot_be_served_is_refused_in_one_line_that_says_why(grpc: Caller, folder: Path) -> None:
    for name, (_, reason) in bad(folder).items():
        with pytest.raises(InferenceServerException) as caught:
            grpc.client.load_model(name)
        message = caught.value.message()
        assert (reason in message, "Traceback" in message) == (True, False), f"{name}: {message}"


def test_compiled_models_are_kept_whole_for_the_next_start(server: Server, cache: Path) -> None:
    entries = list(cache.iterdir())
    assert entries
    for entry in entries:
        assert sorted(file.name for file in entry.iterdir()) == ["model.blob", "shapes.bin", "shapes.xml"]
    assert cache.stat().st_mode & 0o077 == 0
