"""Cases of operators that compute: elementwise, layers, pools, normalization."""

from __future__ import annotations

import numpy as np

from tests.unit.importers.onnx.case import ROWS, SEQUENCE, VOLUME, Case, channels, ints, number
from tests.unit.importers.onnx.files import normal

_PLAIN = (
    *("Abs", "Atan", "Ceil", "Cos", "Elu", "Exp", "Floor", "HardSigmoid", "Identity"),
    *("LeakyRelu", "Neg", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign"),
    *("Tan", "Tanh", "ThresholdedRelu", "GlobalAveragePool", "GlobalMaxPool", "Flatten"),
)
_NORMS = {"epsilon": 1e-3}
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSumSquare"),
)

ELEMENTWISE = {
    **{op.lower(): Case(op, opsets=(9, 22)) for op in _PLAIN},
    "sqrt": Case("Sqrt", positive=True, opsets=(7, 17)),
    "log": Case("Log", positive=True, opsets=(7, 17)),
    "reciprocal": Case("Reciprocal", positive=True, opsets=(7, 17)),
    "erf": Case("Erf", opsets=(9, 13)),
    "round": Case("Round", opsets=(11, 22)),
    "hardswish": Case("HardSwish", opsets=(14, 22)),
    "mish": Case("Mish", opsets=(18, 22)),
    "celu": Case("Celu", {"alpha": 2.0}, opsets=(12,)),
    "elu alpha": Case("Elu", {"alpha": 0.5}),
    "selu own": Case("Selu", {"alpha": 1.5, "gamma": 1.2}),
    "hard sigmoid sixth": Case("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "thresholded": Case("ThresholdedRelu", {"alpha": 0.3}, opsets=(10,)),
    "gelu": Case("Gelu", opsets=(20, 22)),
    "gelu tanh": Case("Gelu", {"approximate": "tanh"}, opsets=(20,)),
    "shrink": Case("Shrink", {"lambd": 0.4, "bias": 0.4}),
    "prelu one": Case("PRelu", stored=(np.float32([0.2]),), opsets=(9, 16)),
    "prelu channels": Case("PRelu", stored=(channels().reshape(3, 1, 1),), opsets=(7, 16)),
    "prelu image": Case("PRelu", stored=(normal(3, 8, 8),)),
    "prelu rows": Case("PRelu", stored=(normal(6),), shape=ROWS),
    "add": Case("Add", stored=(number(3),), opsets=(7, 14)),
    "add channels": Case("Add", stored=(channels().reshape(3, 1, 1),)),
    "sub": Case("Sub", stored=(number(0.5),), opsets=(7, 14)),
    "mul": Case("Mul", stored=(channels().reshape(1, 3, 1, 1),), opsets=(7, 14)),
    "div": Case("Div", stored=(number(6),), opsets=(7, 14)),
    "more axes": Case("Mul", stored=(normal(1, 1, 1, 1),), shape=ROWS),
    "pow": Case("Pow", stored=(number(2),), opsets=(7, 15)),
    "pow half": Case("Pow", stored=(number(0.5),), positive=True),
    "pow tensor": Case("Pow", stored=(channels().reshape(3, 1, 1),), positive=True),
    "max number": Case("Max", stored=(number(0.1),), opsets=(8, 13)),
    "min number": Case("Min", stored=(number(0.1),), opsets=(8, 13)),
    "max several": Case("Max", stored=(number(0.1), channels().reshape(3, 1, 1))),
    "min channels": Case("Min", stored=(channels().reshape(3, 1, 1),)),
    "sum": Case("Sum", stored=(number(1), channels().reshape(3, 1, 1))),
    "mean": Case("Mean", stored=(number(1), channels().reshape(3, 1, 1))),
    "clip old": Case("Clip", {"min": -0.5, "max": 1.0}, opsets=(7, 9)),
    "clip": Case("Clip", stored=(number(-0.5), number(6)), opsets=(11, 13)),
    "clip above": Case("Clip", stored=(None, number(0.3))),
    "clip below": Case("Clip", stored=(number(0.3),)),
    "clip nothing": Case("Clip"),
    "mod": Case("Mod", {"fmod": 1}, stored=(number(0.4),)),
    "cumsum": Case("CumSum", stored=(ints(2)[0],)),
    "dropout": Case("Dropout", opsets=(7, 10, 13)),
}

LAYERS = {
    "conv": Case("Conv", {"pads": [1, 1, 1, 1]}, (normal(4, 3, 3, 3), normal(4)), opsets=(7, 22)),
    "conv uneven": Case("Conv", {"pads": [0, 1, 2, 3]}, (normal(4, 3, 3, 3),)),
    "conv grouped": Case("Conv", {"group": 3, "dilations": [2, 2]}, (normal(6, 1, 3, 3),)),
    "conv same upper": Case(
        "Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (normal(4, 3, 4, 4),)
    ),
    "conv same lower": Case(
        "Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (normal(4, 3, 4, 4),)
    ),
    "conv valid": Case("Conv", {"auto_pad": "VALID"}, (normal(4, 3, 3, 3),)),
    "conv 1d": Case("Conv", {"auto_pad": "SAME_LOWER"}, (normal(4, 3, 4),), SEQUENCE),
    "conv 1d uneven": Case("Conv", {"pads": [2, 0]}, (normal(4, 3, 3), normal(4)), SEQUENCE),
    "conv 3d": Case("Conv", {"auto_pad": "SAME_UPPER"}, (normal(4, 2, 3, 2, 2),), VOLUME),
    "transposed": Case(
        "ConvTranspose", {"strides": [2, 2]}, (normal(3, 4, 2, 2), normal(4)), opsets=(7, 11, 22)
    ),
    "transposed padded": Case(
        "ConvTranspose",
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        (normal(3, 4, 3, 3),),
    ),
    "transposed uneven": Case(
        "ConvTranspose", {"strides": [2, 2], "pads": [0, 1, 1, 0]}, (normal(3, 4, 3, 3),)
    ),
    "transposed grouped": Case(
        "ConvTranspose", {"group": 3, "dilations": [2, 2]}, (normal(3, 2, 3, 3),)
    ),
    "transposed same": Case(
        "ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, (normal(3, 4, 3, 3),)
    ),
    "transposed same lower": Case(
        "ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, (normal(3, 4, 3, 3),)
    ),
    "transposed to shape": Case(
        "ConvTranspose", {"strides": [2, 2], "output_shape": [16, 17]}, (normal(3, 4, 4, 4),)
    ),
    "transposed 1d": Case("ConvTranspose", {"strides": [3]}, (normal(3, 4, 3),), SEQUENCE),
    "matmul": Case("MatMul", stored=(normal(6, 4),), shape=ROWS, opsets=(7, 13)),
    "matmul rows": Case("MatMul", stored=(normal(10, 4),), shape=SEQUENCE),
    "matmul batches": Case("MatMul", stored=(normal(1, 10, 4),), shape=SEQUENCE),
    "gemm": Case("Gemm", {"transB": 1}, (normal(4, 6), normal(4)), ROWS, (7, 13)),
    "gemm scaled": Case("Gemm", {"alpha": 0.5, "beta": 2.0}, (normal(6, 4), normal(1, 4)), ROWS),
    "gemm number": Case("Gemm", stored=(normal(6, 4), normal(1)), shape=ROWS),
    "gemm plain": Case("Gemm", stored=(normal(6, 4),), shape=ROWS, opsets=(11,)),
    "einsum": Case(
        "Einsum", {"equation": "n c t, t d -> n c d"}, (normal(10, 4),), SEQUENCE, (12, 17)
    ),
}

POOLS = {
    "max": Case("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, opsets=(7, 12, 22)),
    "max uneven": Case(
        "MaxPool", {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 2]}
    ),
    "max wide": Case("MaxPool", {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}),
    "max same": Case(
        "MaxPool", {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}
    ),
    "max same lower": Case("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}),
    "max ceil": Case(
        "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, opsets=(10, 22)
    ),
    "max dilated": Case("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    "max 1d": Case("MaxPool", {"kernel_shape": [3], "pads": [0, 1]}, shape=SEQUENCE),
    "max 3d": Case("MaxPool", {"kernel_shape": [2, 2, 2]}, shape=VOLUME),
    "average": Case("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, opsets=(7, 22)),
    "average padded": Case("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average counted": Case(
        "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    ),
    "average uneven": Case(
        "AveragePool", {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 2]}
    ),
    "average uneven counted": Case(
        "AveragePool", {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "count_include_pad": 1}
    ),
    "average same": Case("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
    "average ceil": Case(
        "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, opsets=(10, 19)
    ),
    "average 1d": Case("AveragePool", {"kernel_shape": [2], "pads": [1, 0]}, shape=SEQUENCE),
    "average 3d": Case("AveragePool", {"kernel_shape": [2, 2, 2]}, shape=VOLUME),
    "global average 1d": Case("GlobalAveragePool", shape=SEQUENCE),
    "global average 3d": Case("GlobalAveragePool", shape=VOLUME),
    "global max 1d": Case("GlobalMaxPool", shape=SEQUENCE),
    "norm pool": Case("LpPool", {"kernel_shape": [2, 2], "p": 2}, opsets=(11, 18), positive=True),
}

NORMS = {
    "batch": Case(
        "BatchNormalization",
        _NORMS,
        (channels(), channels(1), channels(2), channels(3) ** 2 + 1),
        opsets=(7, 9, 15),
    ),
    "batch rows": Case(
        "BatchNormalization",
        _NORMS,
        (*(channels(i, 6) for i in (0, 1, 2)), channels(3, 6) ** 2 + 1),
        ROWS,
    ),
    "batch 1d": Case(
        "BatchNormalization",
        {},
        (channels(), channels(1), channels(2), channels(3) ** 2 + 1),
        SEQUENCE,
    ),
    "instance": Case("InstanceNormalization", _NORMS, (channels(), channels(1)), opsets=(7, 22)),
    "instance 1d": Case("InstanceNormalization", {}, (channels(), channels(1)), SEQUENCE),
    "layer": Case("LayerNormalization", _NORMS, (normal(8) + 1, normal(8))),
    "layer two axes": Case("LayerNormalization", {"axis": 2}, (normal(8, 8) + 1,)),
    "group": Case(
        "GroupNormalization",
        {"num_groups": 2},
        (channels(0, 6), channels(1, 6)),
        ("n", 6, 4, 4),
        (21,),
    ),
    "group old": Case(
        "GroupNormalization",
        {"num_groups": 2},
        (channels(0, 2), channels(1, 2)),
        ("n", 6, 4, 4),
        (18,),
    ),
    "lp": Case("LpNormalization", {"axis": 1}, opsets=(7, 17)),
    "lp first": Case("LpNormalization", {"axis": 2, "p": 1}),
    "lrn": Case("LRN", {"size": 3, "alpha": 0.1, "bias": 2.0}, opsets=(7, 13)),
    "mean variance": Case("MeanVarianceNormalization", {"axes": [2, 3]}),
    "rms": Case("RMSNormalization", {}, (normal(8) + 1,), opsets=(23,)),
    "softmax": Case("Softmax", {"axis": 1}, opsets=(13,)),
    "softmax last": Case("Softmax", opsets=(7, 11, 13), shape=ROWS),
    "softmax of the rest": Case("Softmax", {"axis": 1}, opsets=(7, 11)),
    "softmax default old": Case("Softmax", opsets=(11,), shape=SEQUENCE),
    "log softmax": Case("LogSoftmax", {"axis": 2}, opsets=(11, 13), shape=SEQUENCE),
}

REDUCTIONS = {
    **{op.lower(): Case(op, {"axes": [2, 3]}, opsets=(11, 17)) for op in _REDUCTIONS},
    **{
        f"{op.lower()} input": Case(op, {"keepdims": 0}, (ints(1, -1),), opsets=(18,))
        for op in _REDUCTIONS
    },
    "sum old": Case("ReduceSum", {"axes": [1], "keepdims": 0}, opsets=(11,)),
    "sum": Case("ReduceSum", {}, (ints(-1),), opsets=(13, 18)),
    "nothing": Case("ReduceSum", {"noop_with_empty_axes": 1}, opsets=(13,)),
    "log sum": Case("ReduceLogSum", {"axes": [1]}, positive=True),
    "max 1d": Case("ReduceMax", {"axes": [2]}, shape=SEQUENCE),
}
