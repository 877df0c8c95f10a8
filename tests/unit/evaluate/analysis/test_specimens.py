import pytest
import torch

from qutils.evaluate.analysis import SPECIMENS, compare_observers
from qutils.numerics.observers import OBSERVERS

FOOLING = {name: s for name, s in SPECIMENS.items() if s.fools is not None}


def test_each_observer_has_a_specimen_made_against_it():
    assert {s.fools for s in FOOLING.values()} == set(OBSERVERS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("specimen", FOOLING.values(), ids=FOOLING)
def test_it_fools_the_observer_it_names_and_no_simpler_choice_would(specimen, seed):
    outcomes = compare_observers(specimen.rows(seed), specimen.scheme)
    reached = {o.observer: specimen.sqnr_db(o.q, seed) for o in outcomes}
    fooled = reached.pop(specimen.fools)
    assert fooled < max(reached.values()) - 8.0, reached  # more than a bit is lost


@pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS)
def test_the_seed_decides_every_value(specimen):
    assert torch.equal(specimen.tensor(3), specimen.tensor(3))
    assert not torch.equal(specimen.tensor(3), specimen.tensor(4))
    assert torch.isfinite(specimen.tensor()).all()
    assert specimen.rows().counts.sum() == specimen.tensor().numel()


@pytest.mark.parametrize("name", ["gaussian", "laplace", "uniform", "relu"])
def test_plain_specimens_fool_nobody_at_8_bits(name):
    specimen = SPECIMENS[name]
    outcomes = compare_observers(specimen.rows(), specimen.scheme)
    reached = [specimen.sqnr_db(o.q) for o in outcomes]
    assert max(reached) - min(reached) < 3.0


def test_plain_moments():
    assert SPECIMENS["gaussian"].tensor().std().item() == pytest.approx(1.0, abs=0.02)
    assert SPECIMENS["laplace"].tensor().std().item() == pytest.approx(2**0.5, abs=0.03)
    assert SPECIMENS["uniform"].tensor().std().item() == pytest.approx(3**-0.5, abs=0.01)
    assert (SPECIMENS["relu"].tensor() == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
