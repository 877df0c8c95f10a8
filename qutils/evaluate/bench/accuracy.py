"""Top-1 accuracy of anything that predicts: torch modules and runtimes alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qutils.errors import InvalidInputError

if TYPE_CHECKING:  # torch stays out of processes that only measure a runtime
    from torch import nn

#: Batch ``[N, ...]`` -> logits ``[N, classes]``: ``runtime.run`` or ``predict_with(module)``.
#: With several inputs or outputs, arrays by name.
Predict = Callable[[Any], Any]
Labels = NDArray[np.int64]

Z95 = 1.959964  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Accuracy:
    """Top-1 in percent of ``n`` pictures, with its 95 % interval (Wilson) in percent."""

    top1: float
    n: int
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.top1:.2f} % (95 % interval {low:.2f} to {high:.2f} %, n = {self.n:,})"


def predict_with(module: nn.Module) -> Predict:
    """Make a torch module predict from arrays: on its own device, without gradients.

    Several inputs go in as arrays by name; several outputs come back so.

    Raises:
        InvalidInputError: the module is in training mode.
    """
    import torch

    from qutils.graph.signature import named_outputs
    from qutils.nested import call_named

    def predict(batch: Any) -> Any:
        if module.training:
            raise InvalidInputError("the module is in training mode: call module.eval() first")
        parameter = next(module.parameters(), None)
        device = parameter.device if parameter is not None else torch.device("cpu")
        with torch.no_grad():
            if isinstance(batch, Mapping):
                tensors = {name: torch.as_tensor(x).to(device) for name, x in batch.items()}
                outputs = call_named(module, tensors)
            else:
                outputs = module(torch.as_tensor(batch).to(device))
        named = named_outputs(outputs)
        arrays = {name: y.cpu().numpy() for name, y in named.items()}
        return arrays if len(arrays) > 1 else next(iter(arrays.values()))

    return predict


def predictions(predict: Predict, batches: Iterable[NDArray[Any]]) -> Labels:
    """Class of every picture, ``argmax`` of its logits: batches ``[B, ...]`` -> ``[N]``.

    Raises:
        InvalidInputError: no picture, logits of the wrong shape, or NaN in them.
    """
    found = [_classes(predict(np.asarray(batch)), len(batch)) for batch in batches]
    if not found or sum(map(len, found)) == 0:
        raise InvalidInputError("no pictures to predict: the batches are empty")
    return np.concatenate(found)


def evaluate(predict: Predict, batches: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Accuracy:
    """Top-1 accuracy over batches of ``(pictures [B, ...], labels [B])``.

    Raises:
        InvalidInputError: no picture, labels that do not match, logits of wrong shape or NaN,
            batches that tell their ``classes`` (``zoo.Photographs``) and have more or fewer than
            the logits.
    """
    classes = getattr(batches, "classes", ())
    hits = n = 0
    for pictures, labels in batches:
        truth = np.asarray(labels)
        if truth.shape != (len(pictures),):
            raise InvalidInputError(
                f"{len(pictures)} pictures come with labels of shape {list(truth.shape)}"
            )
        logits = predict(np.asarray(pictures))
        if classes and logits.ndim == 2 and logits.shape[1] != len(classes):
            raise InvalidInputError(
                f"the network tells {logits.shape[1]} classes apart, the labels {len(classes)}. "
                f"Read the folder with outputs={logits.shape[1]}, and classes=[...] in the order "
                "of the outputs."
            )
        hits += int((_classes(logits, len(truth)) == truth).sum())
        n += len(truth)
    if n == 0:
        raise InvalidInputError("no pictures to score: the batches are empty")
    return Accuracy(top1=100 * hits / n, n=n, interval=wilson(hits, n))


def agreement(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Percent of pictures with the same predicted class: ``[N]``, ``[N]`` -> percent.

    Raises:
        InvalidInputError: different lengths, or none.

    >>> agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0]))
    75.0
    """
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise InvalidInputError(
            f"predictions of shapes {list(a.shape)} and {list(b.shape)} cannot be compared"
        )
    return float(100 * np.mean(a == b))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion, in percent (Wilson 1927).

    ``(p + z^2/2n -+ z * sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)``

    >>> [round(x, 2) for x in wilson(9300, 10_000)]
    [92.48, 93.48]
    """
    p, z2 = hits / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def _classes(logits: NDArray[Any], n: int) -> Labels:
    """Row-wise argmax ``[B, classes] -> [B]``, refusing what has none."""
    if logits.ndim != 2 or len(logits) != n:
        raise InvalidInputError(f"logits have shape {list(logits.shape)}, expected [{n}, classes]")
    if np.isnan(logits).any():
        raise InvalidInputError("the logits hold NaN: check data and scales for NaN or Inf")
    classes: Labels = np.argmax(logits, axis=1)
    return classes
