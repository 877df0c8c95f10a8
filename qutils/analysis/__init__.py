"""Where the error sits and why: tensors, observers, layers, pictures, bytes."""

from qutils.analysis.compare_observers import ObserverOutcome, compare_observers, explain
from qutils.analysis.delivery import Delivery, examine
from qutils.analysis.error import ErrorSplit, error_split, error_split_of_rows, sqnr_of_rows
from qutils.analysis.flips import Flip, flips
from qutils.analysis.instant import InstantModel, Ranges
from qutils.analysis.layers import (
    FloatActivations,
    LayerComparison,
    LayerSqnr,
    compare_layers,
    float_activations,
)
from qutils.analysis.mixed import mixed
from qutils.analysis.operation_energy import OperationEnergy, operation_energy
from qutils.analysis.packing import pack, packed_bytes, unpack
from qutils.analysis.saturation import Saturation, saturation
from qutils.analysis.sensitivity import PARTS, LayerSensitivity, layers_of, sensitivity
from qutils.analysis.size import EstimatedSize, estimated_size
from qutils.analysis.specimens import SPECIMENS, Specimen
from qutils.analysis.sqnr import DB_PER_BIT, decibels, predicted_sqnr_db, sqnr_db
from qutils.analysis.verify import Verification, verify

__all__ = [
    "DB_PER_BIT",
    "PARTS",
    "SPECIMENS",
    "Delivery",
    "ErrorSplit",
    "EstimatedSize",
    "Flip",
    "FloatActivations",
    "InstantModel",
    "LayerComparison",
    "LayerSensitivity",
    "LayerSqnr",
    "ObserverOutcome",
    "OperationEnergy",
    "Ranges",
    "Saturation",
    "Specimen",
    "Verification",
    "compare_layers",
    "compare_observers",
    "decibels",
    "error_split",
    "error_split_of_rows",
    "estimated_size",
    "examine",
    "explain",
    "flips",
    "float_activations",
    "layers_of",
    "mixed",
    "operation_energy",
    "pack",
    "packed_bytes",
    "predicted_sqnr_db",
    "saturation",
    "sensitivity",
    "sqnr_db",
    "sqnr_of_rows",
    "unpack",
    "verify",
]
