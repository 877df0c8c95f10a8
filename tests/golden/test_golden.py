"""5x5 tensors whose integers were worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qutils.numerics import affine
from qutils.numerics.observers import qparams_of, rows_of
from qutils.numerics.schemes import Scheme

FILES = sorted(Path(__file__).parent.glob("*.json"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(request.param.read_text())
    return case


def test_there_are_goldens():
    assert len(FILES) >= 5


def test_range_to_integers(golden):
    scheme = Scheme(**golden["scheme"])
    low, high = torch.tensor(golden["low"]), torch.tensor(golden["high"])
    q = affine.qparams(low, high, scheme, golden["axis"])
    assert q.scale.tolist() == golden["scale"]
    assert q.zero_point.tolist() == golden["zero_point"]
    assert affine.quantize(torch.tensor(golden["x"]), q).tolist() == golden["integers"]


def test_back_to_reals(golden):
    scheme = Scheme(**golden["scheme"])
    scale, zero_point = torch.tensor(golden["scale"]), torch.tensor(golden["zero_point"])
    q = affine.QParams(
        scale, zero_point, scheme.qmin, scheme.qmax, golden["axis"], scheme.group_size
    )
    integers = torch.tensor(golden["integers"])
    if golden["axis"] == 0:  # a row's scale stands beside its row
        scale, zero_point = scale[:, None], zero_point[:, None]
    elif golden["axis"] == 1:  # [5, 1] of the columns -> [1, 5]
        scale, zero_point = scale.T, zero_point.T
    assert torch.equal(affine.dequantize(integers, q), (integers - zero_point) * scale)


def test_minmax_finds_the_range(golden):
    scheme = Scheme(**golden["scheme"])
    x = torch.tensor(golden["x"])
    if golden["axis"] is None:  # what the given range clips is not to be observed
        x = x.clamp(golden["low"], golden["high"])
    rows = rows_of(x, golden["axis"], scheme.group_size)
    q = qparams_of(rows, scheme, golden["axis"])
    assert q.scale.tolist() == golden["scale"]
    assert q.zero_point.tolist() == golden["zero_point"]
