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
    from qutils import affine as affine
    from qutils import analysis as analysis
    from qutils import bench as bench
    from qutils import detection as detection
    from qutils import figures as figures
    from qutils import integer as integer
    from qutils import observers as observers
    from qutils import ptq as ptq
    from qutils import qat as qat
    from qutils import runtimes as runtimes
    from qutils import widgets as widgets
    from qutils import zoo as zoo
    from qutils.analysis.delivery import export as export
    from qutils.calibration import Observation as Observation
    from qutils.calibration import calibrate as calibrate
    from qutils.calibration import observe as observe
    from qutils.checkpoint import load as load
    from qutils.checkpoint import save as save
    from qutils.errors import DataError as DataError
    from qutils.errors import InvalidInputError as InvalidInputError
    from qutils.errors import MissingPackageError as MissingPackageError
    from qutils.errors import QutilsError as QutilsError
    from qutils.errors import UnsupportedError as UnsupportedError
    from qutils.export import export_float as export_float
    from qutils.graph import TARGETS as TARGETS
    from qutils.observers import OBSERVERS as OBSERVERS
    from qutils.onnx_import import load_onnx as load_onnx
    from qutils.runtimes import RUNTIMES as RUNTIMES
    from qutils.schemes import GRANULARITIES as GRANULARITIES
    from qutils.schemes import Recipe as Recipe
    from qutils.schemes import Scheme as Scheme
    from qutils.simulate import FakeQuantize as FakeQuantize
    from qutils.simulate import SimulatedModel as SimulatedModel
    from qutils.zoo import DATASETS as DATASETS
    from qutils.zoo import MODELS as MODELS

    __version__: str

#: Packages and modules of the public face. ``export`` is also a function: see ``qutils.export``.
_ROOMS = (
    *("affine", "analysis", "bench", "detection", "export", "figures"),
    *("integer", "observers", "ptq", "qat", "runtimes", "widgets", "zoo"),
)
#: Public name -> the module that defines it.
_HOMES = {
    "DATASETS": "qutils.zoo",
    "DataError": "qutils.errors",
    "FakeQuantize": "qutils.simulate",
    "GRANULARITIES": "qutils.schemes",
    "InvalidInputError": "qutils.errors",
    "MODELS": "qutils.zoo",
    "MissingPackageError": "qutils.errors",
    "OBSERVERS": "qutils.observers",
    "Observation": "qutils.calibration",
    "QutilsError": "qutils.errors",
    "RUNTIMES": "qutils.runtimes",
    "Recipe": "qutils.schemes",
    "Scheme": "qutils.schemes",
    "SimulatedModel": "qutils.simulate",
    "TARGETS": "qutils.graph",
    "UnsupportedError": "qutils.errors",
    "calibrate": "qutils.calibration",
    "export_float": "qutils.export",
    "load": "qutils.checkpoint",
    "load_onnx": "qutils.onnx_import",
    "observe": "qutils.calibration",
    "save": "qutils.checkpoint",
}
__all__ = sorted(["__version__", *_HOMES, *_ROOMS])

if not TYPE_CHECKING:  # a type checker reads the imports above, and so notices a misspelt name

    def __getattr__(name):
        """Import a public name when it is first used (PEP 562)."""
        from importlib import import_module

        if name in _ROOMS:
            return import_module(f"qutils.{name}")
        if name == "__version__":
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
