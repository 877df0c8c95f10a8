"""What ``--data`` names, as three disjoint uses: ranges, training, scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qutils import zoo
from qutils.commands.inputs import Inputs, read_inputs
from qutils.qat.finetune import Batches

#: One input in this many is held back to score the model, and is used for nothing else.
HELD_BACK = 5


@dataclass(frozen=True)
class Material:
    """The data of one quantization; no input is both scored and used for anything else."""

    source: str
    calibration: Tensor  # [N, ...]
    train: zoo.Split | Batches | None  # None without labels
    test: Inputs


def read_material(data: str, pictures: int) -> Material:
    """Data of a zoo dataset's name, an ``.npz`` or ``.npy`` file, or a folder of ``.npy`` files.

    A zoo dataset keeps its own splits. Of own data a fifth, drawn once and for all, is held back
    to score; the rest trains QAT, and the first ``pictures`` of it give the ranges.

    Raises:
        InvalidInputError: neither of these, no inputs, NaN or Inf, labels that do not match.
        DataError: a file is corrupt or truncated.
    """
    if data in zoo.DATASETS:
        return _of_zoo(zoo.dataset(data), pictures)
    inputs = read_inputs(Path(data))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(inputs)))
    held = len(inputs) // HELD_BACK
    rest = inputs.take(order[held:])
    return Material(
        source=f"{data} ({len(inputs):,} inputs, {held:,} of them held back to score)",
        calibration=rest.x[:pictures],
        train=None if rest.y is None else Batches(rest.x, rest.y),
        test=inputs.take(order[:held]),
    )


def _of_zoo(data: zoo.Dataset, pictures: int) -> Material:
    calibration = data.calibration.take(min(pictures, len(data.calibration)))
    return Material(
        source=f"{data.name} ({len(data.test):,} test pictures)",
        calibration=calibration.prepare(calibration.images),
        train=data.train,
        test=Inputs(data.test.prepare(data.test.images), data.test.labels),
    )
