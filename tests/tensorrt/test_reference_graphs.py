"""The TensorRT graphs of the reference networks: within budget in ONNX Runtime, and accepted by NVIDIA's compiler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from ai102.build.workspace import Workspace
from ai102.contract import Network, Recipe
from ai102.int8 import gate
from ai102.int8.for_tensorrt import FloatPrecision, qdq_from_ranges
from ai102.int8.ranges import Ranges
from ai102.samples.read import read_samples
from ai102.tensorrt import build
from ai102.tensorrt.layers import nodes_in_int8, nodes_meant_for_int8
from ai102.tensorrt.profiles import profiles_of_network

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.e2e,  # after `make engine`, which exports and calibrates
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:Use Deprecated:DeprecationWarning"),
]
RECIPES = {"digits": Recipe(), "minilm": Recipe(smoothing=0.8)}
LAYERS = {"digits": 10, "minilm": 36}
PRECISIONS: list[FloatPrecision] = ["fp32", "fp16"]


class Emitted(NamedTuple):
    name: str
    network: Network
    precision: FloatPrecision
    fp32: Path
    qdq: Path


@pytest.fixture(scope="module", params=[(name, precision) for name in RECIPES for precision in PRECISIONS])
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    name, precision = request.param
    workspace = Workspace.of(ROOT / "models.toml")
    fp32, ranges = workspace.build(name) / "fp32.onnx", workspace.ranges(name, RECIPES[name])
    if not (fp32.is_file() and ranges.is_file()):
        pytest.skip(f"{name} is not exported and calibrated: run `make engine`")
    out = tmp_path_factory.mktemp("qdq") / f"{name}.onnx"
    qdq_from_ranges(fp32, Ranges.load(ranges, fp32), RECIPES[name], out, float_precision=precision)
    return Emitted(name, workspace.network(name), precision, fp32, out)


def test_onnx_runtime_without_optimizations_runs_it_within_the_budget(emitted: Emitted) -> None:
    workspace, network = Workspace.of(ROOT / "models.toml"), emitted.network
    assert network.calibration_set is not None
    samples = read_samples(workspace.sets, network.calibration_set, "test")
    if emitted.name == "minilm" and emitted.precision != network.tensorrt.float_precision:
        # The whole split takes most of a minute, so it runs only at the contract's precision. Nearest neighbours
        # depend on the number of samples, so a quarter of the split is compared by cosines.
        samples = replace(samples, items=samples.items[::4])
        assert network.budget is not None
        cosines = network.budget.model_copy(update={"min_nearest_neighbour_percent": None})
        network = network.model_copy(update={"budget": cosines})
    tokenizer = workspace.source(emitted.name).tokenizer_file
    verdict = gate.accuracy(network, samples, emitted.fp32, emitted.qdq, tokenizer, as_written=True)
    assert verdict.complaints == (), verdict.summary


def test_nvidias_compiler_accepts_it_and_runs_every_weighted_layer_in_int8(emitted: Emitted) -> None:
    reason = "tensorrt-rtx-cu12 is not installed: pip install -e '.[rtx]'"
    trt = pytest.importorskip("tensorrt_rtx", reason=reason, exc_type=ImportError)
    network = emitted.network
    plan = build.plan_from_onnx(trt, emitted.qdq, profiles_of_network(network), network.tensorrt)
    meant = nodes_meant_for_int8(emitted.qdq)
    assert len(meant) == LAYERS[emitted.name]
    assert nodes_in_int8(plan.layers, meant) == meant
