"""Operators of ONNX as PyTorch modules: one converter for each, the only list is OPERATORS."""

from __future__ import annotations

from qutils.importers.onnx.call import Converter
from qutils.importers.onnx.operators.activations import ACTIVATIONS
from qutils.importers.onnx.operators.arithmetic import ARITHMETIC
from qutils.importers.onnx.operators.indexing import INDEXING
from qutils.importers.onnx.operators.layers import LAYERS
from qutils.importers.onnx.operators.layout import LAYOUT
from qutils.importers.onnx.operators.normalization import NORMALIZATION
from qutils.importers.onnx.operators.pooling import POOLING
from qutils.importers.onnx.operators.recurrent import RECURRENT
from qutils.importers.onnx.operators.reduction import REDUCTION
from qutils.importers.onnx.operators.resize import RESIZE
from qutils.importers.onnx.operators.sources import SOURCES

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
