"""The list of jobs that a study's parameters ask for."""

import pytest

from qutils.errors import InvalidInputError
from qutils.lab.studies.study import plan_jobs
from qutils.lab.studies.study.plan import bit_pairs, checkpoint_job
from qutils.numerics.observers import OBSERVERS
from qutils.zoo import QAT_CHECKPOINTS

ALL = ["mse", *(name for name in OBSERVERS if name != "mse")]


def jobs(**changes):
    asked = {
        "models": ["resnet8", "mobilenetv2"],
        "methods": ["ptq", "qat"],
        "weight_bits": [2, 3, 4, 8],
        "activation_bits": [4, 8],
        "observers": ["mse", "minmax"],
        "granularities": ["per_channel", "per_tensor"],
        "profile": "full",
    }
    return plan_jobs(**{**asked, **changes})


def test_full_profile_trains_every_bit_pair_with_three_seeds():
    qat = [j for j in jobs() if j.method == "qat"]
    per_model = {(j.weight_bits, j.activation_bits, j.seed) for j in qat if j.model == "resnet8"}
    pairs = bit_pairs([2, 3, 4, 8], [4, 8])
    assert per_model == {(w, a, seed) for w, a in pairs for seed in (0, 1, 2)}
    assert {j.model for j in qat} == {"resnet8", "mobilenetv2"}


def test_no_job_is_planned_twice():
    planned = jobs(observers=["minmax", "mse"])
    assert len(planned) == len(set(planned))


def test_every_model_has_its_fp32_reference():
    assert [j.model for j in jobs() if j.method == "fp32"] == ["resnet8", "mobilenetv2"]


def test_observers_and_granularities_are_compared_at_equal_bits():
    ptq = [j for j in jobs(observers=ALL) if j.method == "ptq" and j.model == "resnet8"]
    for bits in (4, 8):
        same = [j for j in ptq if j.weight_bits == j.activation_bits == bits]
        assert {j.observer for j in same if j.granularity == "per_channel"} == set(ALL)
        assert {j.observer for j in same if j.granularity == "per_tensor"} == {ALL[0], "minmax"}


def test_seeds_and_epochs_given_override_the_profile():
    qat = [j for j in jobs(seeds=[7], epochs=3.0) if j.method == "qat"]
    assert {(j.seed, j.epochs) for j in qat} == {(7, 3.0)}


def test_only_eight_bits_are_exported():
    exported = {(j.weight_bits, j.activation_bits) for j in jobs() if j.exportable}
    assert exported == {(8, 8)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["resnet9"]}, "did you mean 'resnet8'"),
        ({"observers": ["mes"]}, "did you mean 'mse'"),
        ({"granularities": ["per_chanel"]}, "did you mean 'per_channel'"),
        ({"methods": ["qta"]}, "did you mean 'qat'"),
        ({"profile": "ful"}, "did you mean 'full'"),
        ({"weight_bits": [1]}, "2..8"),
        ({"activation_bits": [9]}, "2..8"),
        ({"weight_bits": []}, "at least one"),
        ({"models": []}, "at least one model"),
        ({"epochs": 0.0}, "above zero"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_parameters_name_cause_and_mend(changes, words):
    with pytest.raises(InvalidInputError, match=words):
        jobs(**changes)


@pytest.mark.parametrize("name", QAT_CHECKPOINTS)
def test_the_full_report_trains_every_shipped_network(name):
    assert checkpoint_job(QAT_CHECKPOINTS[name]) in jobs(observers=ALL)


def test_a_variant_of_a_shipped_network_differs_in_what_was_asked():
    job = checkpoint_job(QAT_CHECKPOINTS["resnet8-w4a4"], seed=3, epochs=0.5)
    assert (job.seed, job.epochs, job.weight_bits) == (3, 0.5, 4)
    with pytest.raises(InvalidInputError, match="above zero"):
        checkpoint_job(QAT_CHECKPOINTS["resnet8-w4a4"], epochs=0)
