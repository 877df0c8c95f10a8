"""Quantization Lab: post-training quantization against quantization-aware training.

A quantized model in five lines; each name is imported when it is first used::

    import qutils as q
    model, data = q.zoo.load("resnet8"), q.zoo.dataset("fashion_mnist")
    sim = q.calibrate(model, data.calibration, q.Recipe(activations=q.Scheme(observer="mse")))
    int8 = q.export(sim, "resnet8.onnx", target="onnxruntime")
    q.bench.latency(int8)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qutils import detection as detection
    from qutils import integer as integer
    from qutils import zoo as zoo
    from qutils.backends import runtimes as runtimes
    from qutils.backends.runtimes import RUNTIMES as RUNTIMES
    from qutils.backends.shared.onnx_writer import export_float as export_float
    from qutils.errors import DataError as DataError
    from qutils.errors import InvalidInputError as InvalidInputError
    from qutils.errors import MissingPackageError as MissingPackageError
    from qutils.errors import QutilsError as QutilsError
    from qutils.errors import UnsupportedError as UnsupportedError
    from qutils.evaluate import analysis as analysis
    from qutils.evaluate import bench as bench
    from qutils.evaluate.analysis.delivery import export as export
    from qutils.graph import TARGETS as TARGETS
    from qutils.importers.onnx import load_onnx as load_onnx
    from qutils.lab import explorers as explorers
    from qutils.lab import figures as figures
    from qutils.numerics import affine as affine
    from qutils.numerics import observers as observers
    from qutils.numerics.observers import OBSERVERS as OBSERVERS
    from qutils.numerics.schemes import GRANULARITIES as GRANULARITIES
    from qutils.numerics.schemes import Recipe as Recipe
    from qutils.numerics.schemes import Scheme as Scheme
    from qutils.quantize import ptq as ptq
    from qutils.quantize import qat as qat
    from qutils.quantize.calibration import Observation as Observation
    from qutils.quantize.calibration import calibrate as calibrate
    from qutils.quantize.calibration import observe as observe
    from qutils.quantize.checkpoint import load as load
    from qutils.quantize.checkpoint import save as save
    from qutils.quantize.simulate import FakeQuantize as FakeQuantize
    from qutils.quantize.simulate import SimulatedModel as SimulatedModel
    from qutils.zoo import DATASETS as DATASETS
    from qutils.zoo import MODELS as MODELS

    __version__: str

#: Package or module of the public face -> where it lives.
_ROOMS = {
    "affine": "qutils.numerics.affine",
    "analysis": "qutils.evaluate.analysis",
    "bench": "qutils.evaluate.bench",
    "detection": "qutils.detection",
    "explorers": "qutils.lab.explorers",
    "figures": "qutils.lab.figures",
    "integer": "qutils.integer",
    "observers": "qutils.numerics.observers",
    "ptq": "qutils.quantize.ptq",
    "qat": "qutils.quantize.qat",
    "runtimes": "qutils.backends.runtimes",
    "zoo": "qutils.zoo",
}
#: Public name -> the module that defines it.
_HOMES = {
    "DATASETS": "qutils.zoo",
    "DataError": "qutils.errors",
    "FakeQuantize": "qutils.quantize.simulate",
    "GRANULARITIES": "qutils.numerics.schemes",
    "InvalidInputError": "qutils.errors",
    "MODELS": "qutils.zoo",
    "MissingPackageError": "qutils.errors",
    "OBSERVERS": "qutils.numerics.observers",
    "Observation": "qutils.quantize.calibration",
    "QutilsError": "qutils.errors",
    "RUNTIMES": "qutils.backends.runtimes",
    "Recipe": "qutils.numerics.schemes",
    "Scheme": "qutils.numerics.schemes",
    "SimulatedModel": "qutils.quantize.simulate",
    "TARGETS": "qutils.graph",
    "UnsupportedError": "qutils.errors",
    "calibrate": "qutils.quantize.calibration",
    "export": "qutils.evaluate.analysis.delivery",
    "export_float": "qutils.backends.shared.onnx_writer",
    "load": "qutils.quantize.checkpoint",
    "load_onnx": "qutils.importers.onnx",
    "observe": "qutils.quantize.calibration",
    "save": "qutils.quantize.checkpoint",
}
__all__ = sorted(["__version__", *_HOMES, *_ROOMS])

if not TYPE_CHECKING:  # a type checker reads the imports above, and so notices a misspelt name

    def __getattr__(name):
        """Import a public name when it is first used (PEP 562)."""
        from importlib import import_module

        if name in _ROOMS:
            value = import_module(_ROOMS[name])
        elif name == "__version__":
            value = import_module("importlib.metadata").version("quantization-lab")
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        else:
            module = import_module("qutils")  # with it, Python suggests the closest name
            raise AttributeError(
                f"module 'qutils' has no attribute {name!r}", name=name, obj=module
            )
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
