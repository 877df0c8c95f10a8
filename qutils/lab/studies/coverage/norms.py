"""Give random networks activations of sane size: nothing vanishes, nothing explodes."""

from __future__ import annotations

import math

import torch
from torch import nn

from qutils.graph.signature import Batch

#: Normalization layers whose statistics are learned from batches.
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
#: Gains below this leave a residual branch without effect (LayerScale starts at 1e-6).
LEAST_GAIN = 0.1


def settle(model: nn.Module, batch: Batch) -> None:
    """Set normalization statistics from ``batch``, in place; the model ends in eval mode.

    1. A weight that libraries start at zero (the last layer of a branch, a classifier) gets random
       values of standard deviation ``1 / sqrt(fan_in)``; gains and weights that are all below 0.01
       are scaled up to 0.1. Otherwise branches would add nothing, and rounding them would cost
       nothing.
    2. Batch normalization takes mean and variance of the batch, layer by layer in training mode.
    """
    wake(model)
    norms = [m for m in model.modules() if isinstance(m, _BATCH_NORMS) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the mean of all batches
    with torch.no_grad():
        model(batch) if isinstance(batch, torch.Tensor) else model(**batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def wake(model: nn.Module) -> None:
    """Replace weights that are zero and gains that are tiny, in place."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.is_floating_point() or not parameter.numel():
                continue
            largest = float(parameter.abs().max())
            if parameter.ndim > 1 and largest == 0:
                parameter.normal_(std=1 / math.sqrt(parameter[0].numel()))
            elif parameter.ndim == 1 and largest == 0 and name.endswith(("weight", "gain")):
                parameter.fill_(LEAST_GAIN)
            elif 0 < largest < LEAST_GAIN / 10 and not name.endswith("bias"):
                parameter.mul_(LEAST_GAIN / largest)
