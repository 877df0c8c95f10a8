import pytest

from qutils.backends.runtimes import RUNTIMES
from qutils.errors import DataError, InvalidInputError
from qutils.lab.studies import detection
from qutils.lab.studies.detection import plan


def test_profiles_grow():
    smoke, default, full = (detection.choose(name) for name in ("smoke", "default", "full"))
    assert smoke.shapes.train < default.shapes.train == full.shapes.train
    assert smoke.repeats < default.repeats < full.repeats
    assert set(default.networks) == set(detection.NETWORKS)
    assert not default.qat_epochs < full.qat_epochs == 0


def test_size_holds_for_pictures_and_training():
    chosen = detection.choose("smoke", size=96)
    assert (chosen.size, chosen.shapes.size, chosen.training.size) == (96, 96, 96)


def test_runtimes_left_open_are_those_installed():
    chosen = detection.choose("smoke")
    assert all(RUNTIMES[name].installed for name in chosen.runtimes)
    missing = {name for name, _ in chosen.missing}
    assert missing | set(chosen.runtimes) == set(plan.FORMATS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "fast"}, "unknown profile 'fast'"),
        ({"networks": ["yolo11"]}, "did you mean 'yolo11n'"),
        ({"runtimes": ["onnx"]}, "unknown runtime 'onnx'"),
        ({"observer": "mes"}, "did you mean 'mse'"),
        ({"size": 100}, "multiple of 32"),
        ({"weights": []}, "weights is an empty list"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        detection.choose(**{"profile": "smoke", **given})


@pytest.mark.parametrize("given", [{"weights": ["a/no.pt"]}, {"data": "a/no.yaml"}], ids=str)
def test_missing_files_are_named_before_anything_is_made(given):
    with pytest.raises(DataError, match=r"no\.(pt|yaml) is missing"):
        detection.choose("smoke", **given)


def test_two_weights_of_one_name_are_refused(tmp_path):
    """Ultralytics calls all of them best.pt."""
    files = [tmp_path / run / "best.pt" for run in ("a", "b")]
    for path in files:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(InvalidInputError, match="two weights are called best"):
        detection.choose("smoke", weights=[str(path) for path in files])
