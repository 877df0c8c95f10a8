from __future__ import annotations

from itertools import product

import pytest
import torch

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import error_split_of_rows
from qutils.evaluate.analysis.pictures import SOURCES
from qutils.lab.explorers.calibration import (
    SITES,
    CalibrationExplorer,
    CalibrationMaterial,
    calibration_material,
)
from qutils.numerics.observers import OBSERVERS, qparams_of
from qutils.numerics.schemes import Scheme
from qutils.quantize.calibration import observe
from qutils.zoo import dataset, load

COUNTS = (1, 4, 16)


@pytest.fixture(scope="module")
def material() -> CalibrationMaterial:
    return calibration_material(whole=64, unseen=64, counts=COUNTS)


@pytest.fixture(scope="module")
def explorer(material) -> CalibrationExplorer:
    return CalibrationExplorer(material)


def test_the_splits_are_those_that_are_named(material):
    data = dataset("fashion_mnist")
    alone = observe(load("resnet8"), data.test.take(64))
    for name, statistic in material.unseen.statistics.items():
        assert torch.equal(statistic.counts_, alone.statistics[name].counts_)
    assert material.whole.pictures == 64
    assert {name: tuple(found) for name, found in material.sources.items()} == dict.fromkeys(
        SOURCES, COUNTS
    )
    for found in material.sources.values():
        assert [found[n].pictures for n in COUNTS] == list(COUNTS)


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("observer", list(OBSERVERS))
@pytest.mark.parametrize("source", ["random", "black"])
def test_numbers_are_those_of_quantizing_unseen_values(explorer, material, source, observer, bits):
    for n in COUNTS:
        view = explorer.view(
            site="stage3.conv2", source=source, pictures=n, observer=observer, bits=bits
        )
        numbers, data = view.numbers, view.data
        rows = material.unseen.statistics["stage3.conv2"].rows()
        x, counts = rows.values[0], rows.counts[0]
        scale = (numbers["high"] - numbers["low"]) / (2**bits - 1)
        zero_point = round(-numbers["low"] / scale)
        y = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 2**bits - 1)
        error = (counts * (y - x).double().square()).sum()
        sqnr = 10 * torch.log10((counts * x.double().square()).sum() / error)
        assert numbers["sqnr_db"] == pytest.approx(float(sqnr), abs=0.02)
        assert data.sqnr_db[data.at] == numbers["sqnr_db"]
        assert data.width[data.at] == numbers["width"]
        beyond = (x < data.low - data.half_step) | (x > data.high + data.half_step)
        share = 100 * float((counts * beyond).sum() / counts.sum())
        assert numbers["clipped"] == pytest.approx(share, abs=1e-3)


def test_minmax_widens_with_pictures_and_memory_does_not(explorer):
    views = [explorer.view(pictures=n, observer="minmax").numbers for n in COUNTS]
    widths = [v["width"] for v in views]
    assert widths == sorted(widths)
    assert len({v["kept_bytes"] for v in views}) == 1
    assert [v["values_bytes"] for v in views] == [4 * 16 * 28 * 28 * n for n in COUNTS]


def test_order_matters_to_the_moving_average_alone(material):
    """With batches of one class each, the last class has the last word."""
    kept, ordered = material.unseen.blank(), SOURCES["sorted"]
    pictures = ordered.pictures(dataset("fashion_mnist").calibration, 16)
    both = [kept.extended(list(p.split(2))) for p in (pictures, pictures.flip(0))]
    sources = {"random": {16: both[0]}, "sorted": {16: both[1]}}
    explorer = CalibrationExplorer(CalibrationMaterial(sources, material.whole, material.unseen))
    for observer in OBSERVERS:
        widths = [explorer.view(source=s, observer=observer).numbers["width"] for s in sources]
        same = widths[0] == pytest.approx(widths[1], rel=1e-4)
        assert same == (observer != "moving_average")


def parts(explorer, view, setting) -> tuple[float, float, float]:
    """What a range pays more than the whole split's: clipping, rounding, and its share of width."""
    rows, errors = explorer.material.unseen.statistics[setting["site"]].rows(), []
    scheme = Scheme(setting["bits"], False, False, observer=setting["observer"])
    source = explorer.material.sources[setting["source"]][setting["pictures"]]
    for kept in (source, explorer.material.whole):
        q = qparams_of(kept.statistics[setting["site"]].rows(), scheme)
        errors.append(error_split_of_rows(rows, q))
    here, whole = errors
    width = view.numbers["width"] / 100
    return here.clipping - whole.clipping, here.rounding - whole.rounding, width


def test_notes_say_what_the_numbers_say(explorer):
    """Whatever is set: the cause that is named is the part that differs most, in its direction."""
    said = set()
    for site, source, observer, bits in product(SITES, SOURCES, OBSERVERS, (2, 4, 7, 8)):
        setting = {"site": site, "source": source, "observer": observer, "bits": bits}
        setting["pictures"] = 4
        view = explorer.view(**setting)
        behind = view.numbers["whole_sqnr_db"] - view.numbers["sqnr_db"]
        if abs(behind) < 0.5:
            assert "As good as" in view.note
            continue
        assert ("below" if behind > 0 else "better") in view.note
        sign = 1 if behind > 0 else -1
        clipping, rounding, width = parts(explorer, view, setting)
        worse = "this range" if behind > 0 else "the whole split's range"
        assert worse in view.note, setting
        if "lie outside" in view.note:
            assert sign * clipping > max(0, sign * rounding), setting
        elif "is wider" in view.note:
            assert width**sign > 1.02, setting
            assert sign * rounding > max(0, sign * clipping), setting
        else:
            assert "happen to lie" in view.note
            assert width**sign <= 1.02, setting
        said |= {word for word in ("lie outside", "is wider") if word in view.note}
    assert said == {"lie outside", "is wider"}


def test_the_axis_shows_unseen_values_and_both_ranges(explorer):
    for site in SITES:
        for bits in (2, 8):
            view = explorer.view(site=site, bits=bits)
            explorer.picture(view)
            left, right = explorer.plot.top.get_xlim()
            data = view.data
            assert left <= min(data.edges[0], data.low, data.whole_low)
            assert right >= max(data.edges[-1], data.high, data.whole_high)


def test_an_unknown_site_is_named(material):
    with pytest.raises(InvalidInputError, match="did you mean 'stem.0'"):
        CalibrationExplorer(material, sites=("stem",))


def test_pages_offer_few_enough_frames(explorer):
    assert len(list(explorer.frames())) <= 150
