"""The Q/DQ rules find what is wrong and nothing else, and NVIDIA's compiler agrees with them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.external_data_helper import set_external_data

from ai102.contract import Recipe
from ai102.errors import UserError
from ai102.int8.for_onnxruntime import int8_from_ranges
from ai102.int8.for_tensorrt import FloatPrecision, qdq_from_ranges
from ai102.int8.qdq.graph import QdqGraph
from ai102.int8.qdq.report import report_lines
from ai102.int8.qdq.rules import RULES, Severity, check, coverage
from ai102.int8.ranges import find_ranges
from tests.int8 import rtx_compiler
from tests.int8.qdq_fixtures import BAD, GOOD, Probe, Sketch, conv, int32_bias, rows
from tests.tiny_nets import images, residual_cnn, states, transformer_block

FLOAT_PRECISIONS: tuple[FloatPrecision, ...] = ("fp32", "fp16")
ALL_BAD = [pytest.param(code, probe, id=f"{code} {name}") for code in BAD for name, probe in BAD[code].items()]
ALL_GOOD = [pytest.param(code, probe, id=f"{code} {name}") for code in GOOD for name, probe in GOOD[code].items()]
needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="NVIDIA's compiler is not installed: tensorrt-rtx-cu12"
)


def float_graph() -> ModelProto:
    s = rows()
    return s.model(s.op("Relu", "x"))


def external_graph() -> ModelProto:
    model = conv()
    tensor = model.graph.initializer[0]
    set_external_data(tensor, "gone.bin")
    tensor.ClearField("raw_data")
    return model


def test_each_rule_has_a_bad_and_a_good_graph() -> None:
    codes = [rule.code for rule in RULES]
    assert sorted(set(codes)) == codes == list(BAD) == list(GOOD)


@pytest.mark.parametrize(("code", "probe"), ALL_BAD)
def test_a_bad_graph_breaks_its_rule_and_no_other(code: str, probe: Probe) -> None:
    findings = check(probe())
    assert {finding.rule.code for finding in findings} == {code}


@pytest.mark.parametrize(("code", "probe"), ALL_GOOD)
def test_a_good_graph_breaks_no_rule_and_is_covered(code: str, probe: Probe) -> None:
    model = probe()
    covered, total = coverage(model)
    assert [str(finding) for finding in check(model)] == []
    assert covered == total >= 1


def expected(model: ModelProto) -> tuple[str, int]:
    """What the compiler is to do with a graph, and how many of its weighted layers in INT8, by the rules alone."""
    covered, total = coverage(model)
    match {finding.rule.severity for finding in check(model)}:
        case severities if Severity.PARSE in severities:
            return "parse", 0
        case severities if Severity.BUILD in severities:
            return "build", 0
        case severities if Severity.WRONG in severities:
            return "built", total  # it sees nothing amiss
    return "built", covered


def compiled(models: Mapping[str, ModelProto], folder: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """By name: where the compiler fails with a graph, or "built", and what it computes in INT8."""
    files = {folder / f"{number}.onnx": name for number, name in enumerate(models)}
    for file, name in files.items():
        onnx.save(models[name], file)
    return {files[file]: verdict for file, verdict in rtx_compiler.verdicts(files).items()}


def judged(models: Mapping[str, ModelProto], folder: Path) -> dict[str, tuple[str, int]]:
    """The compiler's side of `expected`; a crash counts as a failed build."""
    return {
        name: (
            "build" if outcome == "crash" else outcome,
            sum(node.name in nodes for node in QdqGraph(models[name]).weighted_nodes),
        )
        for name, (outcome, nodes) in compiled(models, folder).items()
    }


@pytest.mark.slow
@needs_compiler
def test_the_compiler_agrees_with_every_verdict(tmp_path: Path) -> None:
    models = {f"bad {code} {name}": probe() for code, probes in BAD.items() for name, probe in probes.items()}
    models |= {f"good {code} {name}": probe() for code, probes in GOOD.items() for name, probe in probes.items()}
    assert judged(models, tmp_path) == {name: expected(model) for name, model in models.items()}


@needs_compiler
def test_the_compiler_computes_the_very_products_in_float_that_have_one_input_quantized(tmp_path: Path) -> None:
    models = {name: probe() for name, probe in BAD["Q404"].items()}
    in_int8 = {
        name: sorted({finding.node for finding in check(models[name])} & nodes)
        for name, (_, nodes) in compiled(models, tmp_path).items()
    }
    assert in_int8 == {name: [] for name in models}


def networks(folder: Path) -> dict[str, ModelProto]:
    """By name: what our two emitters write."""
    models = {}
    for net, batches in (
        (residual_cnn(folder / "cnn.onnx"), images),
        (transformer_block(folder / "block.onnx"), states),
    ):
        ranges = find_ranges(net, batches(160), sample_count=160, set_sha256="0" * 64)
        for precision in FLOAT_PRECISIONS:
            out = folder / f"{net.stem} for TensorRT, {precision}"
            qdq_from_ranges(net, ranges, Recipe(), out, float_precision=precision)
            models[out.name] = onnx.load(out)
        out = folder / f"{net.stem} for ONNX Runtime"
        int8_from_ranges(net, ranges, Recipe(), out, cpu="x86-vnni")
        models[out.name] = onnx.load(out)
    return models


def test_what_we_write_for_tensorrt_is_clean_and_what_we_write_for_onnxruntime_is_refused(tmp_path: Path) -> None:
    found = {
        name: (min((finding.rule.code for finding in check(model)), default="clean"), coverage(model))
        for name, model in networks(tmp_path).items()
    }
    assert found == {
        "cnn for TensorRT, fp32": ("clean", (4, 4)),
        "cnn for TensorRT, fp16": ("clean", (4, 4)),
        "cnn for ONNX Runtime": ("Q101", (0, 4)),
        "block for TensorRT, fp32": ("clean", (2, 2)),
        "block for TensorRT, fp16": ("clean", (2, 2)),
        "block for ONNX Runtime": ("Q102", (0, 2)),
    }


@needs_compiler
def test_the_compiler_agrees_about_whole_networks(tmp_path: Path) -> None:
    models = networks(tmp_path)
    assert judged(models, tmp_path) == {name: expected(model) for name, model in models.items()}


def test_a_finding_names_node_rule_and_cure() -> None:
    finding, *_ = check(conv(zero=np.array(3, np.int8)))
    wanted = "QuantizeLinear_1: Q102 has zero point 3; calibrate symmetrically: int8, zero point 0"
    assert (str(finding), finding.rule.consequence) == (wanted, "TensorRT's parser refuses the file")


def test_a_node_without_a_name_is_called_by_its_output() -> None:
    model = conv(zero=np.array(3, np.int8))
    model.graph.node[1].name = ""
    assert check(model)[0].node == "QuantizeLinear of QuantizeLinear_1_0"


def test_what_is_inside_a_branch_is_checked() -> None:
    s = rows()
    branch = conv(zero=np.array(3, np.int8)).graph
    branch.ClearField("input")
    s.inputs.append(helper.make_tensor_value_info("condition", TensorProto.BOOL, []))
    model = s.model(s.op("If", "condition", then_branch=branch, else_branch=branch))
    assert {finding.rule.code for finding in check(model)} == {"Q102"}


def test_the_report_is_a_line_for_each_rule_and_the_coverage(tmp_path: Path) -> None:
    s = Sketch(1, 32, 16, 16)
    x = "x"
    for _ in range(4):
        x = s.conv(s.qdq(x), None, int32_bias(s, 32))
    onnx.save(s.model(x), file := tmp_path / "net.onnx")
    biases = [f"DequantizeLinear_{number}" for number in (2, 7, 12, 17)]
    why = "TensorRT's parser refuses the file"
    cure = "keep the bias in float (ONNX Runtime: QuantizeBias=False)"
    head = "Q101 rejected at parse: int32 through DequantizeLinear: 4 nodes"
    last = f"{file}: 4 of 4 weighted layers are quantized so that TensorRT runs them in INT8"
    assert report_lines(file) == ([f"{head} ({', '.join(biases[:3])}, ...): {why}; {cure}", last], True)
    lines, _ = report_lines(file, verbose=True)
    assert lines[0] == f"{head}: {why}"
    assert [line.split(": ")[0].strip() for line in lines[1:-1]] == biases


def test_placement_alone_is_no_reason_to_fail(tmp_path: Path) -> None:
    onnx.save(next(iter(BAD["Q501"].values()))(), file := tmp_path / "net.onnx")
    lines, is_broken = report_lines(file)
    assert (len(lines), is_broken) == (2, False)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no such file"),
        (b"", "no ONNX file, or one with an empty graph"),
        (b"hello there\n" * 9, "this is no ONNX file"),
        (float_graph().SerializeToString(), "nothing is quantized to check"),
        (external_graph().SerializeToString(), "put the file of its tensors beside it"),
    ],
    ids=["missing", "empty", "text", "float", "without its tensors"],
)
def test_a_file_with_nothing_to_check_is_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "net.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"net.onnx.*{told}"):
        report_lines(file)
