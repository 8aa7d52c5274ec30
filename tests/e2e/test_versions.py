"""A running server loads a new build as a new version, and returns to the previous one after a rollback."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.client import Client
from ai102.configs import configure
from tests.servers import Server
from tests.tiny_nets import write_scale

pytestmark = pytest.mark.e2e
CONTRACT = """
[networks.scale]
source = "onnx:scale.onnx"
task = "tensors"
inputs = [{ name = "x", type = "FP32", dims = [2] }]
outputs = [{ name = "y", type = "FP32", dims = [2] }]
latency_goal = { p99_ms = 10.0 }
batching = { max_batch_size = 4 }

[ensembles.whole]
steps = ["scale_fp32"]
inputs = ["x"]
outputs = ["y"]
in_one_process = true
"""


class Silent:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, title: str) -> Any:
        from contextlib import nullcontext

        return nullcontext(lambda done, total: None)

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two builds of one network."""
    folder = tmp_path_factory.mktemp("versions")
    (folder / "models.toml").write_text(CONTRACT)
    (folder / "calibration" / "sets").mkdir(parents=True)
    workspace = Workspace.of(folder / "models.toml")
    for factor in (2.0, 3.0):
        write_scale(folder / "scale.onnx", factor)
        verbs.engine(workspace, "scale", Silent())
    configure.write(workspace.contract, workspace.repository)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(
        folder / "model_repository", http_port=0, grpc_port=0, metrics_port=0, models=["scale_fp32", "whole"]
    ) as started:
        yield started


def ai102(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ai102", *arguments], capture_output=True, text=True, cwd=folder, timeout=60
    )


def answer(server: Server) -> float:
    """Of the network, which an ensemble that runs it in its own process must give too."""
    with Client(f"grpc://{server.grpc_url}") as client:
        rows = [client.infer(model, {"x": np.ones((1, 2), np.float32)})["y"][0, 0] for model in ("scale_fp32", "whole")]
    assert rows[0] == rows[1]
    return float(rows[0])


def row(folder: Path, server: Server) -> dict[str, Any]:
    done = ai102(folder, "models", "--json", "--url", f"http://{server.http_url}")
    assert done.returncode == 0, done.stderr
    rows, _ = json.loads(done.stdout)
    return {key: rows[key] for key in ("versions", "rolled_back", "config_is_fresh", "engines", "server")}


def test_a_running_server_follows_a_rollback_and_its_undoing(folder: Path, server: Server) -> None:
    url = f"grpc://{server.grpc_url}"
    fresh = {"config_is_fresh": True, "engines": ["onnxruntime"]}
    assert answer(server) == 3.0
    assert row(folder, server) == {"versions": [1, 2], "rolled_back": [], "server": "READY 2", **fresh}

    done = ai102(folder, "rollback", "scale", "--url", url)
    assert done.stdout.splitlines() == [
        "scale_fp32: version 1 serves, not 2",
        "whole: runs the same build in its own process",
        f"scale_fp32: {url} loaded it",
        f"whole: {url} loaded it",
    ]
    assert answer(server) == 2.0
    assert row(folder, server) == {"versions": [1], "rolled_back": [2], "server": "READY 1", **fresh}

    done = ai102(folder, "rollback", "scale", "--undo", "--url", url)
    assert done.returncode == 0, done.stderr
    assert answer(server) == 3.0


def test_a_rollback_beyond_the_oldest_build_is_one_line(folder: Path) -> None:
    for line in ("", "ai102: scale_fp32 has no build but version 1: there is nothing to roll back to\n"):
        done = ai102(folder, "rollback", "scale")
        assert (done.returncode, done.stderr) == (2 if line else 0, line)
    assert ai102(folder, "rollback", "scale", "--undo").returncode == 0


def test_a_server_that_does_not_answer_is_one_line(folder: Path) -> None:
    done = ai102(folder, "models", "--url", "grpc://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (
        2,
        "ai102: grpc://127.0.0.1:1: no Triton answers (Connection refused); start one with `ai102 serve`\n",
    )


def test_models_shows_stale_and_missing_builds(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(CONTRACT)
    (tmp_path / "calibration" / "sets").mkdir(parents=True)
    done = ai102(tmp_path, "models")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == ["scale_fp32", "not", "built", "stale", "onnx:scale.onnx"]
