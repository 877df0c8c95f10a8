"""Operators of ONNX as PyTorch modules: one converter for each, the only list is OPERATORS."""

from __future__ import annotations

from qutils.onnx_import.call import Converter
from qutils.onnx_import.operators.activations import ACTIVATIONS
from qutils.onnx_import.operators.arithmetic import ARITHMETIC
from qutils.onnx_import.operators.indexing import INDEXING
from qutils.onnx_import.operators.layers import LAYERS
from qutils.onnx_import.operators.layout import LAYOUT
from qutils.onnx_import.operators.normalization import NORMALIZATION
from qutils.onnx_import.operators.pooling import POOLING
from qutils.onnx_import.operators.recurrent import RECURRENT
from qutils.onnx_import.operators.reduction import REDUCTION
from qutils.onnx_import.operators.resize import RESIZE
from qutils.onnx_import.operators.sources import SOURCES

#: Converters by type of operator.
OPERATORS: dict[str, Converter] = {
    **ACTIVATIONS,
    **ARITHMETIC,
    **INDEXING,
    **LAYERS,
    **LAYOUT,
    **NORMALIZATION,
    **POOLING,
    **RECURRENT,
    **REDUCTION,
    **RESIZE,
    **SOURCES,
}
