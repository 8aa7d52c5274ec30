"""NVIDIA's compiler, run by ai102.tensorrt.build without a GPU: accepted graphs, refusals, stored files.

`tensorrt_rtx` has TensorRT 11's interface but is another product: that TensorRT builds the same is not shown here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ai102.contract import Network, Recipe, TensorRTOptions
from ai102.errors import UserError
from ai102.int8.for_tensorrt import FloatPrecision, qdq_from_ranges
from ai102.int8.ranges import find_ranges
from ai102.tensorrt import build
from ai102.tensorrt.gpu import Machine
from ai102.tensorrt.layers import nodes_in_int8, nodes_meant_for_int8
from ai102.tensorrt.profiles import Profile
from tests.tensorrt.resnet50 import made_up_ranges, resnet50
from tests.tiny_nets import WIDTH, images, residual_cnn, states, transformer_block, write

trt = pytest.importorskip(
    "tensorrt_rtx", reason="tensorrt-rtx-cu12 is not installed: pip install -e '.[rtx]'", exc_type=ImportError
)
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache:DeprecationWarning", "ignore:Use Deprecated")

PRECISIONS: list[FloatPrecision] = ["fp32", "fp16"]
HERE = Machine(tensorrt=trt.__version__, compute_capability="9.0", gpu="NVIDIA H200", driver="580.65.06")
PIXELS = {"pixels": Profile((1, 1, 8, 8), (8, 1, 8, 8), (64, 1, 8, 8))}
STATES = {"states": Profile((1, 4, WIDTH), (8, 16, WIDTH), (32, 64, WIDTH))}


def qdq(file: Path, batches: Iterable[dict[str, Any]], recipe: Recipe, precision: FloatPrecision) -> Path:
    ranges = find_ranges(file, batches, sample_count=160, set_sha256="0" * 64)
    out = file.with_name(f"{file.stem}.qdq.onnx")
    qdq_from_ranges(file, ranges, recipe, out, float_precision=precision)
    return out


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    return qdq(residual_cnn(tmp_path / "cnn.onnx"), images(160), Recipe(), "fp16")


def network(**changes: Any) -> Network:
    return Network.model_validate(
        {
            "source": "train:digits",
            "task": "image-classification",
            "inputs": [{"name": "pixels", "type": "UINT8", "dims": [1, 8, 8], "layout": "NCHW"}],
            "outputs": [{"name": "scores", "type": "FP32", "dims": [10]}],
            "labels": [str(number) for number in range(10)],
            "latency_goal": {"p99_ms": 10},
            "batching": {"max_batch_size": 64},
        }
        | changes
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_layer_meant_for_int8_is_int8_in_the_builders_list(tmp_path: Path, precision: FloatPrecision) -> None:
    for file, profiles, expected in (
        (qdq(residual_cnn(tmp_path / "cnn.onnx"), images(160), Recipe(), precision), PIXELS, 4),
        (qdq(transformer_block(tmp_path / "b.onnx"), states(160), Recipe(smoothing=0.8), precision), STATES, 2),
    ):
        meant = nodes_meant_for_int8(file)
        plan = build.plan_from_onnx(trt, file, profiles, TensorRTOptions())
        assert len(meant) == expected
        assert nodes_in_int8(plan.layers, meant) == meant


@pytest.mark.slow
def test_all_54_weighted_layers_of_resnet50_are_int8(tmp_path: Path) -> None:
    file, out = resnet50(tmp_path / "resnet50.onnx"), tmp_path / "qdq.onnx"
    graph = qdq_from_ranges(file, made_up_ranges(file), Recipe(), out, float_precision="fp16")
    profiles = {"pixels": Profile((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))}
    plan = build.plan_from_onnx(trt, out, profiles, TensorRTOptions())
    meant = nodes_meant_for_int8(out)
    assert (len(graph.int8_layers), len(meant)) == (54, 54)
    assert nodes_in_int8(plan.layers, meant) == meant


def test_a_layer_kept_float_is_float_in_the_builders_list(tmp_path: Path) -> None:
    file = qdq(residual_cnn(tmp_path / "cnn.onnx"), images(160), Recipe(keep_float=("conv1",)), "fp16")
    layers = build.plan_from_onnx(trt, file, PIXELS, TensorRTOptions()).layers
    weighted = [node.name for node in onnx.load(file).graph.node if node.op_type in ("Conv", "Gemm")]
    assert (len(weighted), len(nodes_in_int8(layers, weighted)), len(nodes_meant_for_int8(file))) == (4, 3, 3)


def test_every_error_of_the_parser_is_reported_with_its_node(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero_point"], "first"),
        node("MatMulInteger", ["q", "weight", "zero_point"], ["product"], "second"),
        node("Cast", ["product"], ["y"], "third", to=TensorProto.FLOAT),
    ]
    weights = {"weight": np.ones((4, 4), np.int8)}
    file = write(tmp_path / "net.onnx", nodes, weights, ("x", TensorProto.FLOAT, ["batch", 4]), ("y", ["batch", 4]))
    with pytest.raises(UserError) as refusal:
        build.plan_from_onnx(trt, file, {"x": Profile((1, 4), (1, 4), (1, 4))}, TensorRTOptions())
    error = str(refusal.value)
    assert error.startswith(f"{file}: TensorRT {trt.__version__} cannot read it: DynamicQuantizeLinear first: ")
    assert "; MatMulInteger second: " in error
    assert "\n" not in error


def test_a_node_whose_types_disagree_is_named(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], "to_half", to=TensorProto.FLOAT16),
        helper.make_node("Add", ["half", "x"], ["y"], "mixed_sum"),
    ]
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, ["batch", 4])], [value("y", TensorProto.FLOAT, ["batch", 4])]
    model = helper.make_model(helper.make_graph(nodes, "net", *ends), opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, file)
    with pytest.raises(UserError, match="mixed_sum"):
        build.plan_from_onnx(trt, file, {"x": Profile((1, 4), (2, 4), (3, 4))}, TensorRTOptions())


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"pixels": Profile((1, 1, 8, 8), (9, 1, 8, 8), (8, 1, 8, 8))}, "smallest <= tuned for <= largest must hold"),
        ({"pixels": Profile((1, 1, 9, 9), (1, 1, 9, 9), (1, 1, 9, 9))}, "pixels is .* models.toml says"),
        ({"pixels": Profile((1, 64), (1, 64), (1, 64))}, "pixels is .* models.toml says"),
        ({"image": Profile((1, 1, 8, 8), (1, 1, 8, 8), (1, 1, 8, 8))}, r"takes \['pixels'\], models.toml says"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(cnn: Path, profiles: dict[str, Profile], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build.plan_from_onnx(trt, cnn, profiles, TensorRTOptions())


def test_a_failed_build_reports_the_builders_reason(cnn: Path) -> None:
    # This flag needs a GPU in tensorrt_rtx.
    with pytest.raises(UserError, match=f"TensorRT {trt.__version__} cannot build it: .*[a-z]"):
        build.plan_from_onnx(trt, cnn, PIXELS, TensorRTOptions(version_compatible=True))


def test_progress_rises_to_its_total(cnn: Path) -> None:
    seen: list[tuple[int, int]] = []
    build.plan_from_onnx(trt, cnn, PIXELS, TensorRTOptions(), progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 10
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_an_interrupt_ends_the_build_and_leaves_nothing(cnn: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build.install(trt, "digits", cnn, network(), folder, HERE, progress=interrupt)
    assert list(folder.iterdir()) == []


def test_a_plan_has_a_manifest_and_is_not_built_twice(cnn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    options = {"opt_batch_size": 8, "workspace_mb": 256}
    net = network(tensorrt=options)
    assert build.install(trt, "digits", cnn, net, folder, HERE)
    manifest = json.loads((folder / "model.plan.made.json").read_text())["facts"]
    assert sorted(file.name for file in folder.iterdir()) == [
        "model.plan",
        "model.plan.made.json",
        "model.timing_cache",
    ]
    expected = {
        "product": "tensorrt_rtx",
        "tensorrt": trt.__version__,
        "compute_capability": "9.0",
        "network": "digits",
        "gpu": "NVIDIA H200",
        "driver": "580.65.06",
        "profiles": {"pixels": {"least": [1, 1, 8, 8], "opt": [8, 1, 8, 8], "most": [64, 1, 8, 8]}},
        "flags": {
            "workspace_mb": 256,
            "optimization_level": 3,
            "hardware_compatibility": "none",
            "version_compatible": False,
        },
        "layers_meant_for_int8": 4,
        "layers_in_int8": 4,
        "layers_not_in_int8": [],
    }
    assert {key: manifest[key] for key in expected} == expected
    assert not build.install(trt, "digits", cnn, net, folder, HERE)
    assert build.install(trt, "digits", cnn, network(tensorrt=options | {"opt_batch_size": 4}), folder, HERE)


def test_a_mixed_fleet_has_a_plan_per_compute_capability(cnn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    for capability in ("8.9", "12.0"):
        machine = Machine(tensorrt=trt.__version__, compute_capability=capability)
        build.install(trt, "digits", cnn, network(), folder, machine, per_compute_capability=True)
    assert build.cc_model_filenames(folder) == {"8.9": "model.sm89.plan", "12.0": "model.sm120.plan"}
    with pytest.raises(UserError, match="no GPU on this machine"):
        build.install(trt, "digits", cnn, network(), folder, Machine(), per_compute_capability=True)
