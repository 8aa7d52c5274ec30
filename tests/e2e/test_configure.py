"""The real tritonserver loads and applies every serving option of models.toml."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from ai102.build import verbs
from ai102.build.workspace import Workspace
from ai102.client import Client
from ai102.configs import configure
from ai102.errors import UserError
from ai102.serve.installation import installed_tritonserver
from tests.servers import Server

pytestmark = pytest.mark.e2e
CONTRACT = """
[networks.all]
source = "onnx:scale.onnx"
task = "tensors"
inputs = [{ name = "x", type = "FP32", dims = [-1, 2] }]
outputs = [{ name = "y", type = "FP32", dims = [-1, 2] }]
latency_goal = { p99_ms = 10.0 }
instances = { count = 2, rate_limiter = { priority = 2, resources = [
    { name = "memory", count = 2, is_global = true },
    { name = "lane", count = 1 },
] } }
versions = { keep = 3, serve = 2 }
warmup = { batch_sizes = [1, 8] }
response_cache = true
parameters = { inter_op_thread_count = "1" }

[networks.all.batching]
max_batch_size = 8
max_queue_delay_us = 100
preferred_batch_sizes = [4, 8]
queue = { max_size = 64, timeout_us = 500000, on_timeout = "delay", callers_may_shorten = true }
priorities = { levels = 2, default = 2, queues = { "1" = { max_size = 4 } } }

[networks.plain]
source = "onnx:scale.onnx"
task = "tensors"
inputs = [{ name = "x", type = "FP32", dims = [-1, -1, 2] }]
outputs = [{ name = "y", type = "FP32", dims = [-1, -1, 2] }]
latency_goal = { p99_ms = 10.0 }
batching = { max_batch_size = 0 }
warmup = { batch_sizes = [1] }

# A diamond: two steps take the same tensor, and a third takes both of their outputs.
[ensembles.diamond]
steps = [
    { model = "all_fp32", inputs = { x = "raw" }, outputs = { y = "left" } },
    { model = "more_fp32", inputs = { x = "raw" }, outputs = { y = "right" } },
    { model = "joined_fp32", inputs = { a = "left", b = "right" } },
]
inputs = ["raw"]
outputs = ["sum"]
response_cache = true

[networks.more]
source = "onnx:scale.onnx"
task = "tensors"
inputs = [{ name = "x", type = "FP32", dims = [-1, 2] }]
outputs = [{ name = "y", type = "FP32", dims = [-1, 2] }]
latency_goal = { p99_ms = 10.0 }
batching = { max_batch_size = 4, preserve_ordering = true }

[networks.joined]
source = "onnx:sum.onnx"
task = "tensors"
inputs = [{ name = "a", type = "FP32", dims = [-1, 2] }, { name = "b", type = "FP32", dims = [-1, 2] }]
outputs = [{ name = "sum", type = "FP32", dims = [-1, 2] }]
latency_goal = { p99_ms = 10.0 }
batching = { max_batch_size = 4 }
"""


class Silent:
    def step(self, _title: str) -> Any:
        return nullcontext(lambda done, total: None)

    def say(self, line: str) -> None:
        pass


def network(operator: str, inputs: list[str], output: str, factor: float) -> Any:
    """`operator` of the inputs, and of a constant if there is only one input."""
    shape = ["batch", "length", 2]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs if len(inputs) > 1 else [*inputs, "factor"], [output])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])] if len(inputs) == 1 else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    (folder / "models.toml").write_text(CONTRACT)
    save(network("Add", ["a", "b"], "sum", 0), folder / "sum.onnx")
    workspace = Workspace.of(folder / "models.toml")
    for factor in (2.0, 3.0):  # two builds of "all", and the second of it alone
        save(network("Mul", ["x"], "y", factor), folder / "scale.onnx")
        for name in workspace.contract.networks if factor == 2.0 else ["all"]:
            verbs.engine(workspace, name, Silent())
    configure.write(workspace.contract, workspace.repository)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    options = ["--cache-config=local,size=1048576", "--rate-limit=execution_count"]
    options += ["--rate-limit-resource=memory:4", "--rate-limit-resource=lane:1"]
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    options.append(f"--cache-directory={installed_tritonserver().root / 'caches'}")
    models = [model.name for model in Workspace.of(folder / "models.toml").contract.served_models]
    repository = folder / "model_repository"
    with Server(repository, models=models, extra_arguments=options, log=folder / "log", **ports) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client(f"grpc://{server.grpc_url}") as client:
        yield client


def test_every_setting_of_the_contract_loads_in_the_real_server(client: Client) -> None:
    assert sorted((model.name, model.version, model.state) for model in client.models()) == [
        ("all_fp32", "1", "READY"),
        ("all_fp32", "2", "READY"),
        ("diamond", "1", "READY"),
        ("joined_fp32", "1", "READY"),
        ("more_fp32", "1", "READY"),
        ("plain_fp32", "1", "READY"),
    ]


def test_an_ensemble_that_splits_and_joins_answers(client: Client) -> None:
    raw = np.array([[[1, 2]], [[3, 4]]], np.float32)
    for _ in range(2):  # the second answer comes from the cache
        np.testing.assert_array_equal(client.infer("diamond", {"raw": raw})["sum"], raw * (3 + 2))


def test_a_network_without_batch_dimension_takes_any_shape(client: Client) -> None:
    x = np.ones((5, 7, 2), np.float32)
    np.testing.assert_array_equal(client.infer("plain_fp32", {"x": x})["y"], x * 2)


def test_the_warm_up_really_runs(folder: Path, server: Server, client: Client) -> None:
    log = (folder / "log").read_text(errors="replace")
    assert not [line for line in log.splitlines() if "warmup" in line.lower() and line[:1] in "WE"]
    broken = folder / "model_repository" / "all_fp32" / "warmup" / "x.1"
    kept = broken.read_bytes()
    broken.write_bytes(kept[:-1])
    try:
        with pytest.raises(UserError, match="warmup setting expects"):
            client.load("all_fp32")
    finally:
        broken.write_bytes(kept)
    client.load("all_fp32")
