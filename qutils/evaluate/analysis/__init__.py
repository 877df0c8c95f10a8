"""Where the error sits and why: tensors, observers, layers, pictures, bytes."""

from qutils.evaluate.analysis.channels import (
    channel_ranges,
    channels_of,
    range_spread,
    weight_qparams,
)
from qutils.evaluate.analysis.compare_observers import ObserverOutcome, compare_observers, explain
from qutils.evaluate.analysis.delivery import Delivery, examine
from qutils.evaluate.analysis.error import (
    ErrorSplit,
    error_split,
    error_split_of_rows,
    sqnr_of_rows,
)
from qutils.evaluate.analysis.flips import Flip, flips
from qutils.evaluate.analysis.instant import InstantModel, Ranges
from qutils.evaluate.analysis.layers import (
    FloatActivations,
    LayerComparison,
    LayerSqnr,
    compare_layers,
    float_activations,
)
from qutils.evaluate.analysis.mixed import mixed
from qutils.evaluate.analysis.operation_energy import OperationEnergy, operation_energy
from qutils.evaluate.analysis.packing import pack, packed_bytes, unpack
from qutils.evaluate.analysis.saturation import Saturation, saturation
from qutils.evaluate.analysis.sensitivity import PARTS, LayerSensitivity, layers_of, sensitivity
from qutils.evaluate.analysis.size import EstimatedSize, estimated_size
from qutils.evaluate.analysis.specimens import SPECIMENS, Specimen
from qutils.evaluate.analysis.sqnr import DB_PER_BIT, decibels, predicted_sqnr_db, sqnr_db
from qutils.evaluate.analysis.verify import Verification, verify

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
    "channel_ranges",
    "channels_of",
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
    "range_spread",
    "saturation",
    "sensitivity",
    "sqnr_db",
    "sqnr_of_rows",
    "unpack",
    "verify",
    "weight_qparams",
]
