"""A residual block as TensorRT wants it, and the same block with one thing wrong at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

CHANNELS, SIZE, CLASSES = 16, 8, 10
OPSET = 21


class Block:
    """Nodes and constants of an ONNX graph that grows line by line."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.rng = np.random.default_rng(0)

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: object) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def pair(self, x: str, name: str, scale: object = np.float32(0.05), zero: object = None) -> str:
        """``Quantize -> Dequantize`` of an activation."""
        zero = np.int8(0) if zero is None else zero
        s, z = self.constant(f"{name}_scale", scale), self.constant(f"{name}_zero", zero)
        axis = {} if np.ndim(scale) == 0 else {"axis": 1}
        self.node("QuantizeLinear", [x, s, z], f"{name}_q", **axis)
        return self.node("DequantizeLinear", [f"{name}_q", s, z], f"{name}_dq", **axis)

    def weight(self, name: str, shape: tuple[int, ...], axis: int = 0, zero: int = 0) -> str:
        """int8 weights behind a ``Dequantize`` per channel of ``axis``."""
        w = self.constant(f"{name}_w", self.rng.integers(-127, 128, shape).astype(np.int8))
        s = self.constant(f"{name}_w_scale", np.full(shape[axis], 0.01, np.float32))
        z = self.constant(f"{name}_w_zero", np.full(shape[axis], zero, np.int8))
        return self.node("DequantizeLinear", [w, s, z], f"{name}_w_dq", axis=axis)

    def bias(self, name: str, count: int) -> str:
        return self.constant(f"{name}_bias", self.rng.standard_normal(count).astype(np.float32))

    def conv(self, x: str, name: str, weight: str | None = None, bias: str | None = None) -> str:
        weight = weight or self.weight(name, (CHANNELS, CHANNELS, 3, 3))
        bias = bias or self.bias(name, CHANNELS)
        return self.node("Conv", [x, weight, bias], name, pads=[1, 1, 1, 1])

    def end(self, x: str, last: Callable[[str], str] | None = None) -> ModelProto:
        """Global average, quantized, then a Gemm with float output."""
        pooled = self.pair(self.node("GlobalAveragePool", [x], "pool"), "pooled")
        flat = self.node("Flatten", [pooled], "flat")
        if last is None:
            weight = self.weight("head", (CLASSES, CHANNELS))
            self.node("Gemm", [flat, weight, self.bias("head", CLASSES)], "logits", transB=1)
        else:
            last(flat)
        graph = helper.make_graph(
            self.nodes,
            "block",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, SIZE, SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def residual(block: Block, x: str) -> str:
    """``conv -> relu -> quantize -> conv -> (+ quantized x) -> relu -> quantize``."""
    y = block.pair(block.node("Relu", [block.conv(x, "conv1")], "relu1"), "relu1")
    total = block.node("Add", [block.conv(y, "conv2"), x], "sum")
    return block.pair(block.node("Relu", [total], "relu2"), "relu2")


def good() -> ModelProto:
    block = Block()
    return block.end(residual(block, block.pair("x", "x")))


def uint8_activations() -> ModelProto:
    block = Block()
    return block.end(residual(block, block.pair("x", "x", zero=np.uint8(0))))


def int16_activations() -> ModelProto:
    block = Block()
    return block.end(residual(block, block.pair("x", "x", zero=np.int16(0))))


def zero_point() -> ModelProto:
    block = Block()
    return block.end(residual(block, block.pair("x", "x", zero=np.int8(-128))))


def weight_zero_point() -> ModelProto:
    block = Block()
    x = block.pair("x", "x")
    weight = block.weight("conv0", (CHANNELS, CHANNELS, 3, 3), zero=3)
    return block.end(residual(block, block.pair(block.conv(x, "conv0", weight), "conv0")))


def _with_bias(dtype: type[np.generic]) -> ModelProto:
    block = Block()
    x = block.pair("x", "x")
    values = block.rng.integers(-100, 100, CHANNELS).astype(dtype)
    b = block.constant("conv0_b", values)
    s = block.constant("conv0_b_scale", np.full(CHANNELS, 0.0005, np.float32))
    z = block.constant("conv0_b_zero", np.zeros(CHANNELS, dtype))
    bias = block.node("DequantizeLinear", [b, s, z], "conv0_b_dq", axis=0)
    return block.end(residual(block, block.pair(block.conv(x, "conv0", bias=bias), "conv0")))


def int32_bias() -> ModelProto:
    return _with_bias(np.int32)


def int8_bias() -> ModelProto:
    return _with_bias(np.int8)


def channel_axis() -> ModelProto:
    block = Block()
    x = block.pair("x", "x")
    weight = block.weight("conv0", (CHANNELS, CHANNELS, 3, 3), axis=1)
    return block.end(residual(block, block.pair(block.conv(x, "conv0", weight), "conv0")))


def matmul_axis() -> ModelProto:
    """The last axis of a MatMul's weights ``[I, O]`` is that of its outputs; 0 is not."""
    block = Block()

    def matmul(flat: str) -> str:
        weight = block.weight("head", (CHANNELS, CLASSES), axis=0)
        return block.node("MatMul", [flat, weight], "logits")

    return block.end(residual(block, block.pair("x", "x")), matmul)


def matmul() -> ModelProto:
    """Right: quantized along the last axis."""
    block = Block()

    def last(flat: str) -> str:
        weight = block.weight("head", (CHANNELS, CLASSES), axis=1)
        return block.node("MatMul", [flat, weight], "logits")

    return block.end(residual(block, block.pair("x", "x")), last)


def activation_per_channel() -> ModelProto:
    block = Block()
    scale, zero = np.full(CHANNELS, 0.05, np.float32), np.zeros(CHANNELS, np.int8)
    return block.end(residual(block, block.pair("x", "x", scale, zero)))


def computed_scale() -> ModelProto:
    """Dynamic quantization: the scale is the input's own."""
    block = Block()
    block.node("ReduceMax", [block.node("Abs", ["x"], "size")], "peak", keepdims=0)
    block.node("Div", ["peak", block.constant("steps", np.float32(127))], "input_scale")
    zero = block.constant("zero", np.int8(0))
    block.node("QuantizeLinear", ["x", "input_scale", zero], "x_q")
    block.node("DequantizeLinear", ["x_q", "input_scale", zero], "x_dq")
    return block.end(residual(block, "x_dq"))


def scale_of_zero() -> ModelProto:
    block = Block()
    return block.end(residual(block, block.pair("x", "x", np.float32(0.0))))


def float_input() -> ModelProto:
    """Quantized weights, an input that is not."""
    block = Block()
    y = block.node("Relu", [block.conv("x", "conv0")], "relu0")
    return block.end(residual(block, block.pair(y, "relu0")))


def float_weight() -> ModelProto:
    """A quantized input, weights that are not."""
    block = Block()
    weight = block.constant("conv0_w", np.ones((CHANNELS, CHANNELS, 3, 3), np.float32))
    y = block.node("Relu", [block.conv(block.pair("x", "x"), "conv0", weight)], "relu0")
    return block.end(residual(block, block.pair(y, "relu0")))


def split_relu() -> ModelProto:
    """Quantized between convolution and ReLU."""
    block = Block()
    y = block.pair(block.conv(block.pair("x", "x"), "conv0"), "conv0")
    return block.end(residual(block, block.pair(block.node("Relu", [y], "relu0"), "relu0")))


def split_norm() -> ModelProto:
    """Quantized between convolution and BatchNorm."""
    block = Block()
    y = block.pair(block.conv(block.pair("x", "x"), "conv0"), "conv0")
    ones = [block.constant(f"norm{i}", np.ones(CHANNELS, np.float32)) for i in range(4)]
    y = block.node("BatchNormalization", [y, *ones], "norm")
    return block.end(residual(block, block.pair(y, "norm")))


def float_addend() -> ModelProto:
    """The convolution's sum takes in a tensor that is not quantized."""
    block = Block()
    x = block.pair("x", "x")
    y = block.node("Relu", [block.conv(x, "conv0")], "relu0")
    total = block.node("Add", [block.conv(block.pair(y, "relu0"), "conv1"), y], "sum")
    return block.end(block.pair(total, "sum"))


def operator_format() -> ModelProto:
    """Integers multiplied by an operator of their own."""
    block = Block()

    def last(flat: str) -> str:
        s, z = (
            block.constant("flat_scale", np.float32(0.05)),
            block.constant("flat_zero", np.int8(0)),
        )
        block.node("QuantizeLinear", [flat, s, z], "flat_q")
        w = block.constant("head_w", block.rng.integers(-9, 9, (CHANNELS, CLASSES)).astype(np.int8))
        block.node("MatMulInteger", ["flat_q", w], "product")
        return block.node("Cast", ["product"], "logits", to=TensorProto.FLOAT)

    return block.end(residual(block, block.pair("x", "x")), last)


def int4_weights() -> ModelProto:
    """Right: 4-bit weights in blocks, into a MatMul, whose input stays in float."""
    block = Block()

    def last(flat: str) -> str:
        scale = block.constant("head_scale", np.full((1, CLASSES), 0.1, np.float32))
        block.node("DequantizeLinear", ["head_w", scale], "head_dq", axis=0, block_size=CHANNELS)
        return block.node("MatMul", [flat, "head_dq"], "logits")

    model = block.end(residual(block, block.pair("x", "x")), last)
    packed = helper.make_tensor("head_w", TensorProto.INT4, [CHANNELS, CLASSES], [1] * 160)
    model.graph.initializer.append(packed)
    return model


def float_weights_rounded() -> ModelProto:
    """Right: weights stored in float, with QuantizeLinear behind them, as training leaves them."""
    block = Block()
    x = block.pair("x", "x")
    values = block.rng.standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    w = block.constant("conv0_w", values)
    s = block.constant("conv0_w_scale", np.full(CHANNELS, 0.03, np.float32))
    z = block.constant("conv0_w_zero", np.zeros(CHANNELS, np.int8))
    block.node("QuantizeLinear", [w, s, z], "conv0_w_q", axis=0)
    weight = block.node("DequantizeLinear", ["conv0_w_q", s, z], "conv0_w_dq", axis=-4)
    y = block.node("Relu", [block.conv(x, "conv0", weight)], "relu0")
    return block.end(residual(block, block.pair(y, "relu0")))


def max_pool() -> ModelProto:
    """Right: what only picks values may stand between Dequantize and a layer."""
    block = Block()
    x = block.node("MaxPool", [block.pair("x", "x")], "max", kernel_shape=[2, 2], strides=[2, 2])
    y = block.pair(block.node("Relu", [block.conv(x, "conv0")], "relu0"), "relu0")
    return block.end(residual(block, y))


def int4_convolution() -> ModelProto:
    """4-bit weights where only a matrix product may have them."""
    block = Block()
    shape = [CHANNELS, CHANNELS, 3, 3]
    scale = block.constant("conv0_scale", np.full(CHANNELS, 0.1, np.float32))
    weight = block.node("DequantizeLinear", ["conv0_w", scale], "conv0_w_dq", axis=0)
    y = block.conv(block.pair("x", "x"), "conv0", weight)
    model = block.end(residual(block, block.pair(y, "conv0")))
    packed = helper.make_tensor("conv0_w", TensorProto.INT4, shape, [1] * int(np.prod(shape)))
    model.graph.initializer.append(packed)
    return model


#: name -> what makes it, and the rule it breaks.
BROKEN: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "uint8-activations": (uint8_activations, "int8"),
    "int16-activations": (int16_activations, "int8"),
    "int4-convolution": (int4_convolution, "int8"),
    "zero-point": (zero_point, "zero-point"),
    "weight-zero-point": (weight_zero_point, "zero-point"),
    "computed-scale": (computed_scale, "scale"),
    "scale-of-zero": (scale_of_zero, "scale"),
    "int32-bias": (int32_bias, "float-bias"),
    "int8-bias": (int8_bias, "float-bias"),
    "channel-axis": (channel_axis, "channel-axis"),
    "matmul-axis": (matmul_axis, "channel-axis"),
    "activation-per-channel": (activation_per_channel, "per-tensor-activations"),
    "float-input": (float_input, "both-inputs"),
    "float-weight": (float_weight, "both-inputs"),
    "split-relu": (split_relu, "fusion"),
    "split-norm": (split_norm, "fusion"),
    "float-addend": (float_addend, "residual"),
    "operator-format": (operator_format, "qdq-format"),
}
GOOD = {
    "good": good,
    "matmul": matmul,
    "max-pool": max_pool,
    "float-weights-rounded": float_weights_rounded,
    "int4-weights": int4_weights,
}
