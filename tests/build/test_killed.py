"""A build that is killed at any moment leaves a repository that lints and serves, and the next build tidies up."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from ai102 import artifact
from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.client import Client
from ai102.configs import configure
from ai102.int8 import engines, stopwatch
from ai102.int8.engines import Candidate
from ai102.int8.judge import Run
from ai102.lint import lint
from tests.servers import Server

from .test_lock import Listener

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]
KILLS = 50
SERVED_EVERY = 10
SEED = 102
# FP32, INT8, a warm-up, an ensemble of Triton's and one that runs the network in its own process.
CONTRACT = """
[networks.net]
source = "onnx:net.onnx"
task = "tensors"
inputs = [{ name = "x", type = "FP32", dims = [8] }]
outputs = [{ name = "y", type = "FP32", dims = [4] }]
calibration_set = "rows"
budget = { min_mean_cosine = 0.9 }
latency_goal = { p99_ms = 10.0 }
batching = { max_batch_size = 4 }
warmup = { batch_sizes = [1] }
versions = { keep = 2, serve = 2 }

[ensembles.whole]
steps = ["net_int8"]
inputs = ["x"]
outputs = ["y"]
in_one_process = true

[ensembles.steps]
steps = ["net_int8"]
inputs = ["x"]
outputs = ["y"]
"""
SET = """
kind = "arrays"
calibration = { file = "calibration.npz", count = 160, sha256 = "%s" }
test = { file = "test.npz", count = 64, sha256 = "%s" }
"""


def weights(file: Path, seed: int) -> None:
    """What a training run leaves: another matrix each time."""
    matrix = np.random.default_rng(seed).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(matrix, "w")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sets = tmp_path / "calibration" / "sets"
    sets.mkdir(parents=True)
    random_rows = np.random.default_rng(SEED)
    for name, count in (("calibration", 160), ("test", 64)):
        np.savez(sets / f"{name}.npz", x=random_rows.standard_normal((count, 8)).astype(np.float32))
    digests = tuple(artifact.sha256_of_file(sets / f"{name}.npz") for name in ("calibration", "test"))
    (sets / "rows.toml").write_text(SET % digests)
    (tmp_path / "models.toml").write_text(CONTRACT)
    return tmp_path


def int8_is_faster(
    runs: Mapping[Candidate, Run], shapes: Iterable[tuple[str, Any]]
) -> dict[Candidate, dict[str, float]]:
    titles = [title for title, _ in shapes]
    return {one: dict.fromkeys(titles, 1.0 if one.precision == "int8" else 2.0) for one in runs}


def build(folder: Path) -> None:
    """One in which INT8 is served, so that it names the version of FP32 that other kinds of CPU compute."""
    workspace = Workspace.of(folder / "models.toml")
    with (
        patch.object(stopwatch, "verdict", lambda measure: (measure(), "")),
        patch.object(engines, "milliseconds", int8_is_faster),
    ):
        verbs.engine(workspace, "net", Listener())
    configure.write(workspace.contract, workspace.repository)


def answers(folder: Path) -> None:
    """A real server loads every model and each answers; it serves a copy, as a machine does that is given one."""
    copy = folder / "served"
    shutil.copytree(folder / "model_repository", copy)
    try:
        with (
            Server(copy, http_port=0, grpc_port=0, metrics_port=0) as server,
            Client(f"grpc://{server.grpc_url}") as client,
        ):
            for model in ("net_fp32", "net_int8", "whole", "steps"):
                assert client.infer(model, {"x": np.ones((1, 8), np.float32)})["y"].shape == (1, 4)
    finally:
        shutil.rmtree(copy)


def problems(folder: Path) -> list[str]:
    return [f"{finding.path}: {finding.code} {finding.message}" for finding in lint(folder / "model_repository")]


def mixed(folder: Path) -> list[Path]:
    """Served files beside which stands a manifest of another file."""
    files = (folder / "model_repository").rglob("model.onnx")
    sources = {file: artifact.inputs_of(file) for file in files}
    return [
        file
        for file, made_from in sources.items()
        if made_from and artifact.sha256_of_file(file) not in (made_from.get("onnx"), made_from.get("build"))
    ]


def test_killed_at_fifty_random_moments(folder: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["ai102.build.steps", "ai102.build.steps.quantize", "onnxruntime.quantization", "openvino", __name__]
    )
    weights(folder / "net.onnx", 0)
    build(folder)
    assert problems(folder) == []
    weights(folder / "net.onnx", 1)
    began = time.monotonic()
    whole = context.Process(target=build, args=(folder,))
    whole.start()
    whole.join(120)
    assert whole.exitcode == 0
    length_s = time.monotonic() - began
    moments, interrupted = random.Random(SEED), 0
    for number in range(KILLS):
        weights(folder / "net.onnx", 2 + number)
        process = context.Process(target=build, args=(folder,))
        process.start()
        began = time.monotonic()
        process.join(moments.uniform(0, length_s))
        if not process.is_alive():  # the first build took longer than builds do now
            length_s = min(length_s, time.monotonic() - began)
        process.kill()
        process.join(30)
        interrupted += process.exitcode == -9
        assert (problems(folder), mixed(folder)) == ([], []), f"after kill {number}"
        if number % SERVED_EVERY == 0:
            answers(folder)
    assert interrupted > KILLS / 2
    build(folder)
    assert list(folder.rglob(f"{artifact.TEMPORARY}*")) == []
    assert problems(folder) == []
    versions = Workspace.of(folder / "models.toml").builds("net").installed("net_int8")
    assert 1 <= len(versions) <= 2
    answers(folder)
