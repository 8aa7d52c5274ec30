"""Graphs of one weighted layer or so for each rule of the Q/DQ checker: some that break it, one that does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

Array = NDArray[Any]
Probe = Callable[[], ModelProto]
FEW, MANY = 32, 64  # channels in and out


def f32(*values: float) -> Array:
    return np.array(values if len(values) != 1 else values[0], np.float32)


ONE_SCALE = f32(0.02)
SCALES = np.full(MANY, 0.01, np.float32)
ZERO = np.array(0, np.int8)
ZEROS = np.zeros(MANY, np.int8)


def integers(*shape: int, dtype: Any = np.int8) -> Array:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def changed(array: Array, value: Any) -> Array:
    """With another value in channel 3."""
    copy = array.copy()
    copy[3] = value
    return copy


class Sketch:
    """A graph being drawn; its input is x."""

    def __init__(self, *shape: int, x_type: int = TensorProto.FLOAT, also: tuple[str, ...] = ()) -> None:
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", x_type, shape)]
        self.inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in also]

    def constant(self, value: Array | TensorProto) -> str:
        name = f"constant_{len(self.constants)}"
        tensor = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value))
        tensor.name = name
        self.constants.append(tensor)
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        name = f"{kind}_{len(self.nodes)}"
        names = [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name, **attributes))
        return names[0] if outputs == 1 else names

    def parameters(self, scale: Array | str, zero: Array | TensorProto | None) -> list[str]:
        names = [scale if isinstance(scale, str) else self.constant(scale)]
        return names if zero is None else [*names, self.constant(zero)]

    def qdq(
        self,
        tensor: str,
        scale: Array | str = ONE_SCALE,
        zero: Array | TensorProto | None = ZERO,
        **attributes: Any,
    ) -> str:
        parameters = self.parameters(scale, zero)
        rounded = self.op("QuantizeLinear", tensor, *parameters, **attributes)
        return str(self.op("DequantizeLinear", rounded, *parameters, **attributes))

    def dq(self, values: Array, scale: Array | str, zero: Array | None, **attributes: Any) -> str:
        return str(self.op("DequantizeLinear", self.constant(values), *self.parameters(scale, zero), **attributes))

    def conv_weights(self) -> str:
        return self.dq(integers(FEW, FEW, 3, 3), SCALES[:FEW], ZEROS[:FEW], axis=0)

    def conv(self, tensor: str, weights: str | None = None, *bias: str) -> str:
        return str(self.op("Conv", tensor, weights or self.conv_weights(), *bias, pads=[1] * 4))

    def matmul(self, tensor: str, weights: str | None = None) -> str:
        return str(self.op("MatMul", tensor, weights or self.dq(integers(FEW, MANY), SCALES, ZEROS, axis=1)))

    def model(self, output: str, opset: int = 18, output_type: int = TensorProto.FLOAT) -> ModelProto:
        outputs = [helper.make_tensor_value_info(output, output_type, None)]
        graph = helper.make_graph(self.nodes, "probe", self.inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def picture() -> Sketch:
    return Sketch(1, FEW, 16, 16)


def rows(**more: Any) -> Sketch:
    return Sketch(8, FEW, **more)


def conv(
    scale: Array = ONE_SCALE,
    zero: Array | TensorProto | None = ZERO,
    *,
    values: Array | None = None,
    scales: Array = SCALES[:FEW],
    zeros: Array | None = ZEROS[:FEW],
    axis: int = 0,
    opset: int = 18,
) -> ModelProto:
    s = picture()
    weights = s.dq(integers(FEW, FEW, 3, 3) if values is None else values, scales, zeros, axis=axis)
    return s.model(s.op("Relu", s.conv(s.qdq("x", scale, zero), weights)), opset)


def matmul(scale: Array = ONE_SCALE, zero: Array | None = ZERO, *, scales: Array = SCALES, axis: int = 1) -> ModelProto:
    s = rows()
    weights = s.dq(integers(FEW, MANY), scales, np.zeros(scales.shape, np.int8), axis=axis)
    return s.model(s.matmul(s.qdq("x", scale, zero), weights))


def gemm(scales: Array, **attributes: int) -> ModelProto:
    s = rows()
    shape = (MANY, FEW) if attributes.get("transB") else (FEW, MANY)
    weights = s.dq(integers(*shape), scales, np.zeros(scales.shape, np.int8), axis=shape.index(scales.size))
    bias = s.constant(np.ones(MANY, np.float32))
    return s.model(s.op("Gemm", s.qdq("x"), weights, bias, **attributes))


def conv_with_bias(bias: Callable[[Sketch], str]) -> ModelProto:
    s = picture()
    return s.model(s.conv(s.qdq("x"), None, bias(s)))


def sum_with_bias(bias: Callable[[Sketch], str]) -> ModelProto:
    s = rows()
    return s.model(s.op("Add", s.matmul(s.qdq("x")), bias(s)))


def int32_bias(s: Sketch, channels: int) -> str:
    return s.dq(integers(channels, dtype=np.int32), SCALES[:channels], np.zeros(channels, np.int32), axis=0)


def qlinear_conv() -> ModelProto:
    s = picture()
    scale, zero = s.constant(ONE_SCALE), s.constant(ZERO)
    x = s.op("QuantizeLinear", "x", scale, zero)
    weights = s.constant(integers(FEW, FEW, 3, 3))
    y = s.op("QLinearConv", x, scale, zero, weights, scale, zero, scale, zero)
    return s.model(s.op("DequantizeLinear", y, scale, zero))


def qlinear_matmul() -> ModelProto:
    s = rows()
    scale, zero = s.constant(ONE_SCALE), s.constant(ZERO)
    x = s.op("QuantizeLinear", "x", scale, zero)
    y = s.op("QLinearMatMul", x, scale, zero, s.constant(integers(FEW, MANY)), scale, zero, scale, zero)
    return s.model(s.op("DequantizeLinear", y, scale, zero))


def dynamic_quantization() -> ModelProto:
    s = rows()
    x, _, zero = s.op("DynamicQuantizeLinear", "x", outputs=3)
    weights = s.constant(integers(FEW, MANY))
    return s.model(s.op("Cast", s.op("MatMulInteger", x, weights, zero), to=TensorProto.FLOAT))


def conv_integer() -> ModelProto:
    s = picture()
    x = s.op("QuantizeLinear", "x", *s.parameters(ONE_SCALE, ZERO))
    y = s.op("ConvInteger", x, s.constant(integers(FEW, FEW, 3, 3)))
    return s.model(s.op("Cast", y, to=TensorProto.FLOAT))


def uint8_input() -> ModelProto:
    s = Sketch(1, FEW, 16, 16, x_type=TensorProto.UINT8)
    return s.model(s.conv(s.op("DequantizeLinear", "x", *s.parameters(ONE_SCALE, np.array(0, np.uint8)))))


def int8_input() -> ModelProto:
    s = Sketch(1, FEW, 16, 16, x_type=TensorProto.INT8)
    return s.model(s.conv(s.op("DequantizeLinear", "x", *s.parameters(ONE_SCALE, ZERO))))


def with_factor(kind: str, factor: Callable[[Sketch], str]) -> ModelProto:
    s = rows()
    return s.model(s.op(kind, s.matmul(s.qdq("x")), factor(s)))


def computed_zero_point() -> ModelProto:
    s = rows()
    nothing = s.op("Mul", s.op("ReduceMax", "x", keepdims=0), s.constant(f32(0)))
    zero = s.op("Cast", nothing, to=TensorProto.INT8)
    scale = s.constant(ONE_SCALE)
    rounded = s.op("QuantizeLinear", "x", scale, zero)
    return s.model(s.matmul(s.op("DequantizeLinear", rounded, scale, s.constant(ZERO))))


def computed_scale(s: Sketch) -> str:
    """From the input's largest value, as dynamic quantization written out has it."""
    return str(s.op("Div", s.op("ReduceMax", s.op("Abs", "x"), keepdims=0), s.constant(f32(127))))


def conv_with_computed_scale() -> ModelProto:
    s = picture()
    return s.model(s.conv(s.qdq("x", computed_scale(s))))


def conv_with_scale_from_input() -> ModelProto:
    s = Sketch(1, FEW, 16, 16, also=("scale",))
    return s.model(s.conv(s.qdq("x"), s.dq(integers(FEW, FEW, 3, 3), "scale", ZERO)))


def conv_with_folded_scale() -> ModelProto:
    s = picture()
    scale = s.op("Mul", s.constant(f32(0.1)), s.constant(f32(0.2)))
    return s.model(s.conv(s.qdq("x", scale)))


def matmul_with_computed_scale() -> ModelProto:
    s = rows()
    return s.model(s.matmul(s.qdq("x", computed_scale(s))))


def matmul_with_scale_from_input() -> ModelProto:
    s = rows(also=("scale",))
    return s.model(s.matmul(s.qdq("x"), s.dq(integers(FEW, MANY), "scale", ZERO)))


def output_type_named() -> ModelProto:
    s = rows()
    scale = s.constant(ONE_SCALE)
    rounded = s.op("QuantizeLinear", "x", scale, output_dtype=TensorProto.INT8)
    return s.model(s.matmul(s.op("DequantizeLinear", rounded, scale)), opset=21)


def per_channel_activation(s: Sketch, axis: int, channels: int) -> str:
    return s.qdq("x", SCALES[:channels], ZEROS[:channels], axis=axis)


def conv_of_channels() -> ModelProto:
    s = picture()
    return s.model(s.conv(per_channel_activation(s, 1, FEW)))


def matmul_of_channels() -> ModelProto:
    s = rows()
    return s.model(s.matmul(per_channel_activation(s, 1, FEW)))


def transposed_weights(channels: int, axis: int) -> ModelProto:
    s = rows()
    weights = s.dq(integers(MANY, FEW), SCALES[:channels], ZEROS[:channels], axis=axis)
    return s.model(s.matmul(s.qdq("x"), s.op("Transpose", weights, perm=[1, 0])))


def only_activation() -> ModelProto:
    s = rows()
    return s.model(s.matmul(s.qdq("x"), s.constant(np.ones((FEW, MANY), np.float32))))


def only_weights() -> ModelProto:
    s = picture()
    return s.model(s.conv("x"))


def between(kind: str, **attributes: Any) -> ModelProto:
    s = picture()
    return s.model(s.conv(s.op(kind, s.qdq("x"), **attributes)))


def joined(scale: float) -> ModelProto:
    s = picture()
    return s.model(s.conv(s.op("Concat", s.qdq("x"), s.qdq("x", f32(scale)), axis=2)))


def float_weights_rounded_in_the_graph() -> ModelProto:
    s = picture()
    weights = s.constant(np.ones((FEW, FEW, 3, 3), np.float32))
    return s.model(s.conv(s.qdq("x"), s.qdq(weights, SCALES[:FEW], ZEROS[:FEW], axis=0)))


def two_activations(*, both: bool) -> ModelProto:
    s = rows()
    turned = s.op("Transpose", s.op("Relu", s.matmul(s.qdq("x"))), perm=[1, 0])
    return s.model(s.op("MatMul", s.qdq(turned) if both else turned, s.qdq("x")))


def skip(*, residual: bool, own: bool) -> ModelProto:
    """conv(x) + relu(x), then a second convolution."""
    s = picture()
    first = s.conv(s.qdq("x"))
    other = s.op("Sigmoid", "x")
    total = s.op("Add", s.qdq(first) if own else first, s.qdq(other) if residual else other)
    return s.model(s.conv(s.qdq(s.op("Relu", total))))


def projected_skip(rounded: int) -> ModelProto:
    """Two convolutions of x added, `rounded` of them through Q/DQ."""
    s = picture()
    x = s.qdq("x")
    summands = [s.conv(x), s.conv(x)]
    total = s.op("Add", *(s.qdq(name) if index < rounded else name for index, name in enumerate(summands)))
    return s.model(s.conv(s.qdq(total)))


def behind_matmul(kind: str, *, rounded: bool, bias: bool = False) -> ModelProto:
    s = rows()
    y = s.matmul(s.qdq("x"))
    if bias:
        y = s.op("Add", y, s.constant(np.ones(MANY, np.float32)))
    more = [s.constant(np.ones(MANY, np.float32))] if kind == "LayerNormalization" else []
    return s.model(s.op(kind, s.qdq(y) if rounded else y, *more))


def gelu(*, rounded: bool) -> ModelProto:
    s = rows()
    y = s.matmul(s.qdq("x"))
    return s.model(s.op("Erf", s.op("Div", s.qdq(y) if rounded else y, s.constant(f32(1.414)))))


def pooled(*, before: bool, after: bool) -> ModelProto:
    s = picture()
    x = s.op("AveragePool", s.qdq("x") if before else "x", kernel_shape=[2, 2])
    y = s.qdq(x) if after else x
    return s.model(s.conv(y) if after else s.op("Add", y, s.op("AveragePool", s.conv(s.qdq("x")), kernel_shape=[2, 2])))


def rounded_output() -> ModelProto:
    s = picture()
    return s.model(s.qdq(s.op("Relu", s.conv(s.qdq("x")))))


def typed_zero(kind: int) -> TensorProto:
    return helper.make_tensor("", kind, [], [0])


# By rule: what breaks it, and the same put right.
BAD: dict[str, dict[str, Probe]] = {
    "Q101": {
        "bias of a convolution": lambda: conv_with_bias(lambda s: int32_bias(s, FEW)),
        "bias added to a product": lambda: sum_with_bias(lambda s: int32_bias(s, MANY)),
    },
    "Q102": {
        "int8 activation": lambda: conv(zero=np.array(3, np.int8)),
        "uint8 activation": lambda: conv(zero=np.array(128, np.uint8)),
        "one channel of the weights": lambda: conv(zeros=changed(ZEROS[:FEW], 1)),
    },
    "Q103": {
        **{f"activation {bad}": partial(conv, f32(bad)) for bad in (0, -0.1, np.nan)},
        **{f"channel {bad}": partial(conv, scales=changed(SCALES[:FEW], bad)) for bad in (0, -0.1, np.nan)},
    },
    "Q104": {
        "weights of a convolution": lambda: conv(scales=SCALES[:31], zeros=ZEROS[:31]),
        "weights of a product": lambda: matmul(scales=SCALES[:63]),
    },
    "Q105": {
        "one zero point": lambda: conv(zeros=ZERO),
        "a list of one": lambda: conv(zeros=ZEROS[:1]),
        "one scale": lambda: conv(scales=ONE_SCALE),
    },
    "Q106": {"QLinearConv": qlinear_conv, "QLinearMatMul": qlinear_matmul},
    "Q107": {"MatMulInteger": dynamic_quantization, "ConvInteger": conv_integer},
    "Q108": {
        "int16 activation": lambda: conv(zero=np.array(0, np.int16), opset=21),
        "uint16 activation": lambda: conv(zero=np.array(0, np.uint16), opset=21),
        "uint4 activation": lambda: conv(zero=typed_zero(TensorProto.UINT4), opset=21),
        "int16 weights": lambda: conv(
            values=integers(FEW, FEW, 3, 3, dtype=np.int16), zeros=np.zeros(FEW, np.int16), opset=21
        ),
    },
    "Q109": {
        "weights": lambda: conv(values=integers(FEW, FEW, 3, 3, dtype=np.uint8), zeros=np.zeros(FEW, np.uint8)),
        "input": uint8_input,
    },
    "Q201": {
        "Add": lambda: with_factor("Add", lambda s: s.dq(integers(), ONE_SCALE, ZERO)),
        "Mul": lambda: with_factor("Mul", lambda s: s.dq(integers(), ONE_SCALE, ZERO)),
    },
    "Q202": {"activation": computed_zero_point},
    "Q203": {"of the input's largest value": conv_with_computed_scale, "from outside": conv_with_scale_from_input},
    "Q301": {"activation": lambda: conv(zero=np.array(0, np.uint8))},
    "Q302": {"activation": lambda: conv(zero=None), "product": lambda: matmul(zero=None)},
    "Q303": {
        "activation": lambda: conv(f32(np.inf)),
        "channel": lambda: conv(scales=changed(SCALES[:FEW], np.inf)),
    },
    "Q401": {"convolution": conv_of_channels, "product": matmul_of_channels},
    "Q402": {"scale and zero point": lambda: conv(f32(0.1).reshape(1), ZEROS[:1])},
    "Q403": {
        "Conv": lambda: conv(axis=1),
        "MatMul": lambda: matmul(scales=SCALES[:FEW], axis=0),
        "Gemm": lambda: gemm(SCALES[:FEW]),
        "Gemm with transB": lambda: gemm(SCALES[:FEW], transB=1),
        "behind Transpose": lambda: transposed_weights(FEW, axis=1),
    },
    "Q404": {
        "activation": only_activation,
        "weights": only_weights,
        "Relu between": lambda: between("Relu"),
        "AveragePool between": lambda: between("AveragePool", kernel_shape=[2, 2]),
        "Concat of two scales between": lambda: joined(0.5),
        "one of two activations": lambda: two_activations(both=False),
    },
    "Q405": {"of the input's largest value": matmul_with_computed_scale, "from outside": matmul_with_scale_from_input},
    "Q501": {
        "Sigmoid": lambda: behind_matmul("Sigmoid", rounded=True),
        "Sigmoid behind a bias": lambda: behind_matmul("Sigmoid", rounded=True, bias=True),
        "output of the network": rounded_output,
    },
    "Q502": {
        "nothing rounded": lambda: skip(residual=False, own=False),
        "both rounded": lambda: skip(residual=True, own=True),
        "projection, nothing rounded": lambda: projected_skip(0),
        "projection, both rounded": lambda: projected_skip(2),
    },
    "Q503": {
        "Softmax": lambda: behind_matmul("Softmax", rounded=True),
        "LayerNormalization": lambda: behind_matmul("LayerNormalization", rounded=True),
        "GELU written out": lambda: gelu(rounded=True),
    },
    "Q504": {"pool": lambda: pooled(before=True, after=False)},
}
GOOD: dict[str, dict[str, Probe]] = {
    "Q101": {
        "float bias": lambda: conv_with_bias(lambda s: s.constant(np.ones(FEW, np.float32))),
        "int8 bias": lambda: conv_with_bias(lambda s: s.dq(integers(FEW), ONE_SCALE, ZERO)),
    },
    "Q102": {"zero": conv},
    "Q103": {"small": lambda: conv(f32(1e-9), scales=changed(SCALES[:FEW], 1e-9))},
    "Q104": {"one": lambda: conv(scales=ONE_SCALE, zeros=ZERO), "each": matmul},
    "Q105": {"list of one": lambda: conv(scales=SCALES[:1], zeros=ZEROS[:1]), "none": lambda: conv(zeros=None)},
    "Q106": {"float weights": float_weights_rounded_in_the_graph},
    "Q107": {"static": matmul},
    "Q108": {"int8 in opset 21": lambda: conv(opset=21)},
    "Q109": {"int8 input": int8_input},
    "Q201": {
        "list of one": lambda: with_factor("Mul", lambda s: s.dq(integers(1), ONE_SCALE, ZERO)),
        "float": lambda: with_factor("Mul", lambda s: s.constant(f32(2))),
        "float rounded in the graph": lambda: with_factor("Mul", lambda s: s.qdq(s.constant(f32(2)))),
    },
    "Q202": {"constant": matmul},
    "Q203": {"computed from constants": conv_with_folded_scale},
    "Q301": {"int8": conv},
    "Q302": {"output_dtype": output_type_named},
    "Q303": {"large": lambda: conv(f32(1e30))},
    "Q401": {"one scale": conv},
    "Q402": {"before a product": lambda: matmul(f32(0.1).reshape(1), ZEROS[:1])},
    "Q403": {
        "Conv, counted from the end": lambda: conv(axis=-4),
        "MatMul, counted from the end": lambda: matmul(axis=-1),
        "Gemm": lambda: gemm(SCALES),
        "Gemm with transB": lambda: gemm(SCALES, transB=1),
        "behind Transpose": lambda: transposed_weights(MANY, axis=0),
    },
    "Q404": {
        "MaxPool between": lambda: between("MaxPool", kernel_shape=[2, 2]),
        "Transpose between": lambda: between("Transpose", perm=[0, 1, 3, 2]),
        "Concat of one scale between": lambda: joined(0.02),
        "two activations": lambda: two_activations(both=True),
    },
    "Q405": {"constant": matmul},
    "Q501": {"left float": lambda: behind_matmul("Sigmoid", rounded=False)},
    "Q502": {"residual": lambda: skip(residual=True, own=False), "projection": lambda: projected_skip(1)},
    "Q503": {"Softmax": lambda: behind_matmul("Softmax", rounded=False), "GELU": lambda: gelu(rounded=False)},
    "Q504": {
        "both sides": lambda: pooled(before=True, after=True),
        "neither side": lambda: pooled(before=False, after=False),
    },
}
