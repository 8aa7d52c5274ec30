"""Whether TensorRT takes a Q/DQ graph, and runs in INT8 what is quantized in it: a table of rules, in pure onnx.

Each rule was put to NVIDIA's compiler (tests/int8/test_qdq_rules.py: tensorrt-rtx 1.7.1), except those of
placement, which are NVIDIA's advice: "Explicit Quantization: Q/DQ Layer-Placement Recommendations" in TensorRT's
documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from onnx import ModelProto, NodeProto

from ai102.int8.qdq import placement as placement
from ai102.int8.qdq import rejected as rejected
from ai102.int8.qdq import silent as silent
from ai102.int8.qdq.graph import Found, QdqGraph, label


class Severity(StrEnum):
    """Worst first."""

    PARSE = "rejected at parse"
    BUILD = "rejected at build"
    WRONG = "silently wrong"
    FLOAT = "silently float"
    PLACEMENT = "placement"


@dataclass(frozen=True)
class Rule:
    code: str
    title: str
    severity: Severity
    consequence: str
    cure: str
    find: Callable[[QdqGraph], Iterable[Found]]


@dataclass(frozen=True)
class Finding:
    """A node that breaks a rule."""

    node: str
    what: str
    rule: Rule

    def __str__(self) -> str:
        return f"{self.node}: {self.rule.code} {self.what}; {self.rule.cure}"


_SYMMETRIC = "calibrate symmetrically: int8, zero point 0"
_NO_FILE = "TensorRT's parser refuses the file"
_NO_PLAN = "TensorRT's builder gives no plan"
_IN_FLOAT = "the layer computes in float, and the rounding is for nothing"
# fmt: off
RULES = (
    Rule("Q101", "int32 through DequantizeLinear", Severity.PARSE, _NO_FILE,
         "keep the bias in float (ONNX Runtime: QuantizeBias=False)", rejected.int32_tensors),
    Rule("Q102", "zero point is not 0", Severity.PARSE, _NO_FILE, _SYMMETRIC, rejected.non_zero_zero_points),
    Rule("Q103", "scale is 0, negative or NaN", Severity.PARSE, _NO_FILE,
         "calibrate on data that moves this tensor, or keep the layer in float", rejected.scales_not_positive),
    Rule("Q104", "wrong number of scales", Severity.PARSE, _NO_FILE,
         "give one scale, or one for each channel along `axis`", rejected.miscounted_scales),
    Rule("Q105", "not as many zero points as scales", Severity.PARSE, _NO_FILE,
         "give the zero point the shape of the scale", rejected.miscounted_zero_points),
    Rule("Q106", "operator on quantized tensors", Severity.PARSE, _NO_FILE,
         "write Q/DQ around the float operator (ONNX Runtime: QuantFormat.QDQ)", rejected.qlinear_operators),
    Rule("Q107", "operator of dynamic quantization", Severity.PARSE, _NO_FILE,
         "quantize statically, with ranges from calibration", rejected.integer_operators),
    Rule("Q108", "type that TensorRT does not have", Severity.PARSE, _NO_FILE, "quantize to int8",
         rejected.other_types),
    Rule("Q109", "uint8 weights or input", Severity.PARSE, _NO_FILE, "quantize to int8", rejected.uint8_tensors),
    Rule("Q201", "quantized scalar", Severity.BUILD, _NO_PLAN,
         "leave the constant in float, or give it shape [1]", rejected.quantized_scalars),
    Rule("Q202", "zero point is not a constant", Severity.BUILD, _NO_PLAN, _SYMMETRIC,
         rejected.computed_zero_points),
    Rule("Q203", "scale of a convolution is not a constant", Severity.BUILD,
         "TensorRT's builder gives no plan, or crashes", "take the scale from calibration",
         partial(silent.computed_scales, for_convolutions=True)),
    Rule("Q301", "uint8 with zero point 0", Severity.WRONG,
         "TensorRT rounds to int8: what is above 127 steps is cut off", _SYMMETRIC, silent.uint8_without_offset),
    Rule("Q302", "QuantizeLinear without a zero point", Severity.WRONG,
         "TensorRT rounds to int8 where ONNX says uint8", "add an int8 zero point of 0", silent.missing_zero_points),
    Rule("Q303", "infinite scale", Severity.WRONG, "every value becomes 0 or NaN",
         "calibrate on data without infinities", silent.infinite_scales),
    Rule("Q401", "per-channel scales of an activation", Severity.FLOAT, _IN_FLOAT,
         "give the activation one scale", silent.per_channel_activations),
    Rule("Q402", "scale of a convolved activation is a list of one", Severity.FLOAT, _IN_FLOAT,
         "give scale and zero point the shape []", silent.listed_scales),
    Rule("Q403", "scales not along the output channels", Severity.FLOAT, _IN_FLOAT,
         "quantize the weights along their output channels", silent.misplaced_scales),
    Rule("Q404", "one input of a product quantized", Severity.FLOAT, _IN_FLOAT,
         "put Q/DQ directly before both inputs, or before none", silent.half_quantized_products),
    Rule("Q405", "scale is not a constant", Severity.FLOAT, _IN_FLOAT, "take the scale from calibration",
         partial(silent.computed_scales, for_convolutions=False)),
    Rule("Q501", "output of a weighted layer rounded for a float operator", Severity.PLACEMENT,
         "accuracy is lost and no time is won", "take this Q/DQ out", placement.rounded_outputs),
    Rule("Q502", "skip addition without exactly its residual input quantized", Severity.PLACEMENT,
         "the addition is not fused into the convolution, which may stay float",
         "put Q/DQ before the residual input alone", placement.skip_additions),
    Rule("Q503", "Softmax, LayerNormalization or GELU quantized", Severity.PLACEMENT,
         "accuracy is lost: they compute in float anyway", "take the Q/DQ before it out",
         placement.float_operators_behind_qdq),
    Rule("Q504", "quantized for a float operator", Severity.PLACEMENT,
         "accuracy is lost and no time is won", "quantize both sides of the operator, or none", placement.idle_qdq),
)
# fmt: on


def check(model: ModelProto) -> list[Finding]:
    """Every finding, by rule and then in the graph's order."""
    return _findings(QdqGraph(model))


def coverage(model: ModelProto) -> tuple[int, int]:
    """(in INT8, all) weighted layers: those TensorRT computes in INT8 as the file says it, as far as the rules tell.

    A layer counts as weighted when it multiplies an activation with constants. A graph that is rejected for the sake
    of another node counts what the layer itself would be.
    """
    graph = QdqGraph(model)
    broken = {finding.node for finding in _findings(graph) if finding.rule.severity is not Severity.PLACEMENT}
    covered = [node for node in graph.weighted_nodes if _is_quantized(graph, node, broken)]
    return len(covered), len(graph.weighted_nodes)


def _findings(graph: QdqGraph) -> list[Finding]:
    return [Finding(label(node), what, rule) for rule in RULES for node, what in rule.find(graph)]


def _is_quantized(graph: QdqGraph, node: NodeProto, broken: set[str]) -> bool:
    concerned = [node]
    for tensor in node.input[:2]:
        pair = graph.dequantized(tensor)
        if pair is None:
            return False
        quantizer = graph.quantizer(pair.node)
        concerned += [pair.node] if quantizer is None else [pair.node, quantizer]
    return not broken & {label(each) for each in concerned}
