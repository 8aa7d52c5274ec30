"""The TensorRT graphs of the reference networks: within budget by ONNX Runtime, and taken by NVIDIA's compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from ai102 import judge
from ai102.calibrate import Ranges
from ai102.engine import tensorrt
from ai102.engine.tensorrt_layers import nodes_in_int8, nodes_meant_for_int8
from ai102.engine.tensorrt_profiles import profiles_of_network
from ai102.quantize.for_tensorrt import FloatPrecision, qdq_from_ranges
from ai102.road import Workspace
from ai102.samples import Samples, read_samples
from ai102.spec import Network, Recipe

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.e2e,  # after `make engine`, which exports and calibrates
    pytest.mark.filterwarnings("ignore:Use Deprecated:DeprecationWarning"),
]
RECIPES = {"digits": Recipe(), "minilm": Recipe(smoothing=0.8)}
LAYERS = {"digits": 10, "minilm": 36}
PRECISIONS: list[FloatPrecision] = ["fp32", "fp16"]


class Emitted(NamedTuple):
    name: str
    network: Network
    fp32: Path
    qdq: Path


@pytest.fixture(scope="module", params=[(name, precision) for name in RECIPES for precision in PRECISIONS])
def emitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    name, precision = request.param
    workspace = Workspace.of(ROOT / "models.toml")
    fp32, ranges = workspace.build(name) / "fp32.onnx", workspace.ranges(name)
    if not (fp32.is_file() and ranges.is_file()):
        pytest.skip(f"{name} is not exported and calibrated: run `make engine`")
    out = tmp_path_factory.mktemp("qdq") / f"{name}.onnx"
    qdq_from_ranges(fp32, Ranges.load(ranges, fp32), RECIPES[name], out, float_precision=precision)
    return Emitted(name, workspace.network(name), fp32, out)


def unoptimized(onnx_file: Path, network: Network) -> judge.Run:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])

    def run(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run([network.outputs[0].name], tensors)[0]
        return answer

    return run


def test_onnx_runtime_without_optimizations_runs_it_within_the_budget(emitted: Emitted) -> None:
    workspace = Workspace.of(ROOT / "models.toml")
    network, tokenizer = emitted.network, workspace.source(emitted.name).tokenizer_file
    assert network.calibration_set is not None
    whole = read_samples(workspace.sets, network.calibration_set, "test")
    # Without optimizations MiniLM takes a minute for the whole split.
    samples = whole if whole.labels else Samples(whole.items[::4], (), whole.sha256)
    reference, candidate = (
        judge.outputs(run, network, samples.items, tokenizer)
        for run in (judge.session_run(emitted.fp32, network), unoptimized(emitted.qdq, network))
    )
    verdict = judge.compare(network, samples, reference, candidate)
    if emitted.name == "digits":
        drop = verdict.facts["fp32_top1_percent"] - verdict.facts["int8_top1_percent"]
        assert drop <= 0.3, verdict.summary
    else:
        assert verdict.facts["mean_cosine"] >= 0.99, verdict.summary


def test_nvidias_compiler_takes_it_and_runs_every_weighted_layer_in_int8(emitted: Emitted) -> None:
    reason = "tensorrt-rtx-cu12 is not installed: pip install -e '.[rtx]'"
    trt = pytest.importorskip("tensorrt_rtx", reason=reason, exc_type=ImportError)
    network = emitted.network
    plan = tensorrt.plan_from_onnx(trt, emitted.qdq, profiles_of_network(network), network.tensorrt)
    meant = nodes_meant_for_int8(emitted.qdq)
    assert len(meant) == LAYERS[emitted.name]
    assert nodes_in_int8(plan.layers, meant) == meant
