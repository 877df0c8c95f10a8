from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qutils.evaluate.analysis.specimens import SPECIMENS
from qutils.lab.explorers.observers import ON_PAGES, Material, ObserverExplorer
from qutils.numerics.observers import OBSERVERS, rows_of
from qutils.numerics.schemes import MAX_BITS, MIN_BITS

torch.manual_seed(0)
VALUES = {
    "relu": torch.randn(20_000).relu(),
    "two sides": torch.randn(20_000) - 0.3,
    "far": torch.cat([torch.randn(20_000), torch.tensor([40.0])]),
}
FOOLED = [made for made in SPECIMENS.values() if made.fools]


@pytest.fixture(scope="module")
def explorer() -> ObserverExplorer:
    return ObserverExplorer({name: Material(rows_of(x), "made up") for name, x in VALUES.items()})


@pytest.fixture(scope="module")
def made() -> ObserverExplorer:
    return ObserverExplorer({m.name: Material(m.rows(), m.about, m) for m in FOOLED})


def oracle(x: Tensor, scale: float, zero_point: int, bits: int, symmetric: bool) -> Tensor:
    """PyTorch's own fake quantization."""
    qmin, qmax = (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, qmin, qmax)


@pytest.mark.parametrize("mapping", ["affine", "symmetric"])
@pytest.mark.parametrize("bits", [MIN_BITS, 5, MAX_BITS])
@pytest.mark.parametrize("observer", list(OBSERVERS))
@pytest.mark.parametrize("tensor", list(VALUES))
def test_errors_are_those_of_torch(explorer, tensor, observer, bits, mapping):
    n = explorer.view(tensor=tensor, observer=observer, bits=bits, mapping=mapping).numbers
    x, symmetric = VALUES[tensor], mapping == "symmetric"
    y = oracle(x, n["scale"], n["zero_point"], bits, symmetric)
    error = (y - x).double().square().mean()
    sqnr = 10 * torch.log10(x.double().square().mean() / error)
    assert n["sqnr_db"] == pytest.approx(float(sqnr), abs=1e-3)
    assert n["rounding"] + n["clipping"] == pytest.approx(float(error), rel=1e-4)
    assert n["levels_unused"] == 2**bits - symmetric - len(y.unique())


def test_minmax_clips_nothing_and_percentile_its_share(explorer):
    for tensor, x in VALUES.items():
        # a range is moved by half a step at most, to give zero an integer of its own
        keeps = explorer.view(tensor=tensor, observer="minmax", bits=8)
        assert keeps.numbers["clipped"] == keeps.numbers["clipping"] == 0
        assert keeps.data.levels[-1] + keeps.numbers["scale"] / 2 >= float(x.max())
        cut = explorer.view(tensor=tensor, observer="percentile", bits=8).numbers["clipped"]
        assert cut <= 0.011


@pytest.mark.parametrize("mapping", ["affine", "symmetric"])
def test_levels_and_ranges_are_drawn_as_they_are(explorer, mapping):
    for bits in (2, 8):
        view = explorer.view(tensor="two sides", observer="mse", bits=bits, mapping=mapping)
        data, row = view.data, list(OBSERVERS).index("mse")
        assert len(data.levels) == 2**bits - (mapping == "symmetric")
        assert (data.levels[0], data.levels[-1]) == (data.low[row], data.high[row])
        assert 0.0 in data.levels
        explorer.picture(view)
        left, right = explorer.plot.top.get_xlim()
        assert left <= min(data.edges[0], data.low.min())
        assert right >= max(data.edges[-1], data.high.max())


def test_the_chosen_observer_is_the_thick_one(explorer):
    for index, name in enumerate(OBSERVERS):
        explorer.picture(explorer.view(observer=name))
        for lines in (explorer.plot.ranges, explorer.plot.lengths):
            widths = [line.get_linewidth() for line in lines]
            assert [w == max(widths) for w in widths] == [i == index for i in range(len(widths))]


def test_the_table_lists_every_observer_and_the_note_names_the_best(explorer):
    view = explorer.view(tensor="far", bits=4)
    head, *rows = view.table
    assert [row[0] for row in rows] == [name.replace("_", " ") for name in OBSERVERS]
    best = max(rows, key=lambda row: float(row[head.index("SQNR [dB]")]))
    assert view.note.startswith(best[0])
    assert "made up" in view.note
    assert view.table == explorer.view(tensor="far", bits=4, observer="entropy").table


@pytest.mark.parametrize("fooled", FOOLED, ids=lambda m: m.name)
def test_specimens_score_what_matters(made, fooled):
    n = {
        observer: made.view(tensor=fooled.name, observer=observer, bits=fooled.bits).numbers
        for observer in OBSERVERS
    }
    if fooled.matters is None:
        assert "sqnr_of_what_matters_db" not in n["mse"]
        return
    x = fooled.tensor()
    x = x[(x >= fooled.matters[0]) & (x <= fooled.matters[1])]
    for numbers in n.values():
        y = oracle(x, numbers["scale"], numbers["zero_point"], fooled.bits, False)
        sqnr = 10 * torch.log10(x.double().square().sum() / (y - x).double().square().sum())
        assert numbers["sqnr_of_what_matters_db"] == pytest.approx(float(sqnr), abs=1e-3)
    worst = max(numbers["sqnr_of_what_matters_db"] for numbers in n.values())
    assert n[fooled.fools]["sqnr_of_what_matters_db"] < worst - 6


def test_the_default_tensors_are_real_and_made():
    explorer = ObserverExplorer()
    names = explorer.controls[0].options
    assert [name for name in names if name.startswith("made: ")] == [
        f"made: {name.replace('_', ' ')}" for name in SPECIMENS
    ]
    assert {name.partition(":")[0] for name in names} == {"ResNet-8", "MobileNetV2", "made"}
    assert set(ON_PAGES) == set(explorer.controls[0].frames)
    assert len(list(explorer.frames())) <= 200
