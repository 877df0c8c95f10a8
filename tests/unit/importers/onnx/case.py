"""One-node models: an operator, its attributes and stored inputs, the shape of x, operator sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from tests.unit.importers.onnx.files import normal

IMAGE, SEQUENCE, ROWS, VOLUME = ("n", 3, 8, 8), ("n", 3, 10), ("n", 6), ("n", 2, 5, 6, 7)
ALL_SETS = (7, 13, 17, 22)


@dataclass(frozen=True)
class Case:
    """A node ``Op x ... > y``; ``stored`` are its other inputs, in order (None: left out)."""

    op: str
    attributes: dict[str, Any] = field(default_factory=dict)
    stored: tuple[Any, ...] = ()
    shape: tuple[Any, ...] = IMAGE
    opsets: tuple[int, ...] = (17,)
    positive: bool = False  # inputs of this sign only
    kind: int = TensorProto.FLOAT  # of y

    def nodes(self) -> list[NodeProto]:
        names = [f"s{i}" if value is not None else "" for i, value in enumerate(self.stored)]
        return [helper.make_node(self.op, ["x", *names], ["y"], "part/node", **self.attributes)]

    def tensors(self) -> dict[str, np.ndarray]:
        return {f"s{i}": np.asarray(v) for i, v in enumerate(self.stored) if v is not None}

    def inputs(self, batch: int = 5) -> np.ndarray:
        x = 3 * normal(batch, *self.shape[1:], seed=3)
        return np.abs(x) + 0.1 if self.positive else x


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def number(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def channels(seed: int = 0, count: int = 3) -> np.ndarray:
    return normal(count, seed=seed) + 1
