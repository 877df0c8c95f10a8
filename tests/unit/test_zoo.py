"""Datasets with disjoint splits, models with verified checkpoints, recipes."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qutils import zoo
from qutils.errors import DataError, InvalidInputError
from qutils.files import ROOT, sha256
from qutils.quantize.training import Plan

SPLITS = ("train", "calibration", "validation", "test")
FLOOR = {"resnet8": 92.5, "mobilenetv2": 92.5}  # percent of the 10,000 test pictures


@pytest.fixture(scope="module")
def data() -> zoo.Dataset:
    return zoo.dataset("fashion_mnist")


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own, with a fresh checkpoint of each model."""
    folder = tmp_path / "data"
    (folder / "checkpoints").mkdir(parents=True)
    for name in zoo.MODELS:
        model = zoo.load(name, pretrained=False)
        path = zoo.save(model, folder / f"checkpoints/{name}.safetensors")
        with (folder / "checkpoints/SHA256SUMS").open("a") as listing:
            listing.write(f"{sha256(path)}  {path.name}\n")
    monkeypatch.setenv("QUTILS_DATA", str(folder))
    return folder


# --- datasets ---


def pictures_of(images: np.ndarray, labels: np.ndarray) -> Counter[bytes]:
    """How often each labelled picture occurs."""
    rows = np.concatenate([images.reshape(len(labels), -1), labels[:, None]], axis=1)
    return Counter(row.tobytes() for row in rows.astype(np.uint8))


def original(stem: str) -> Counter[bytes]:
    """The labelled pictures of the original files, read without the library."""
    folder = ROOT / "data/fashion_mnist"
    images = gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes())[8:]
    pixels = np.frombuffer(images, np.uint8).reshape(-1, 784)
    return pictures_of(pixels, np.frombuffer(labels, np.uint8))


def test_every_original_picture_is_in_exactly_one_split(data: zoo.Dataset) -> None:
    splits = {n: getattr(data, n) for n in SPLITS}
    found = {n: pictures_of(s.images.numpy(), s.labels.numpy()) for n, s in splits.items()}
    cut = found["train"] + found["calibration"] + found["validation"]
    assert cut.total() == 60_000
    assert cut == original("train")
    assert found["test"] == original("t10k")
    for one, other in combinations(SPLITS, 2):
        assert not found[one].keys() & found[other].keys(), (one, other)


def test_split_sizes(data: zoo.Dataset) -> None:
    sizes = {name: len(getattr(data, name)) for name in SPLITS}
    expected = {"train": 52_000, "calibration": 5_000, "validation": 3_000, "test": 10_000}
    assert sizes == expected


@pytest.mark.parametrize("name", SPLITS)
def test_classes_are_balanced_in_every_split(data: zoo.Dataset, name: str) -> None:
    split = getattr(data, name)
    share = torch.bincount(split.labels, minlength=10) / len(split)
    assert len(data.classes) == 10
    assert share.sub(0.1).abs().max() < 0.02


@pytest.mark.parametrize("name", SPLITS)
def test_pictures_are_bytes_and_batches_are_normalized(data: zoo.Dataset, name: str) -> None:
    split = getattr(data, name)
    assert split.images.dtype == torch.uint8
    assert split.images.shape == (len(split), 1, 28, 28)
    x, y = next(iter(split.take(2_000).batches(2_000)))
    assert x.dtype == torch.float32
    assert x.mean().abs() < 0.05
    assert abs(x.std() - 1) < 0.05
    assert torch.equal(y, split.labels[:2_000])


def test_batches_hold_every_picture_once(data: zoo.Dataset) -> None:
    sizes = [len(y) for _, y in data.validation.batches(700)]
    assert sizes == [700, 700, 700, 700, 200]


@pytest.mark.parametrize("count", [0, -1, 3_001])
def test_taking_what_a_split_does_not_hold_is_refused(data: zoo.Dataset, count: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"asked for {count} pictures of split 'validat"):
        data.validation.take(count)


def test_batch_size_below_one_is_refused(data: zoo.Dataset) -> None:
    with pytest.raises(InvalidInputError, match="at least 1, got 0"):
        data.test.batches(0)


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "missing"])
def test_damaged_data_file_is_named_with_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder = tmp_path / "fashion_mnist"
    shutil.copytree(ROOT / "data/fashion_mnist", folder)
    path = folder / "train-labels-idx1-ubyte.gz"
    expected, blob = sha256(path), bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(blob[:-100])
    elif damage == "corrupt":
        blob[5_000] ^= 255
        path.write_bytes(blob)
    else:
        path.unlink()
    monkeypatch.setenv("QUTILS_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz is") as caught:
        zoo.dataset("fashion_mnist")
    assert (expected in str(caught.value)) == (damage != "missing")


def test_unknown_dataset_suggests_the_closest() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'fashion_mnist'"):
        zoo.dataset("fashion-mnist")


# --- models ---


@pytest.mark.parametrize("name", zoo.MODELS)
def test_registry_entry_is_true(name: str, own_data: Path) -> None:
    entry, model = zoo.MODELS[name], zoo.load(name)
    assert entry.name == name
    assert entry.dataset in zoo.DATASETS
    assert not model.training
    assert model(torch.zeros(3, *entry.input_shape)).shape == (3, 10)


@pytest.mark.slow(reason="scores trained networks on many pictures")
@pytest.mark.parametrize("name", zoo.MODELS)
def test_shipped_checkpoint_reaches_what_the_report_claims(name: str, data: zoo.Dataset) -> None:
    model = zoo.load(name).to(memory_format=torch.channels_last)  # the faster order on CPUs
    with torch.inference_mode():
        hits = sum(int((model(x).argmax(1) == y).sum()) for x, y in data.test.batches(100))
    assert 100 * hits / len(data.test) >= FLOOR[name]


def test_shipped_checkpoints_are_all_listed(root: Path) -> None:
    folder = root / "data/checkpoints"
    for entry in zoo.MODELS.values():
        assert entry.checkpoint.name in (folder / "SHA256SUMS").read_text()


def test_mobilenetv2_has_what_breaks_naive_ptq() -> None:
    model = zoo.load("mobilenetv2", pretrained=False)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert any(conv.groups == conv.in_channels > 1 for conv in convs)
    assert any(isinstance(m, nn.ReLU6) for m in model.modules())
    assert sum(getattr(m, "has_shortcut", False) for m in model.modules()) >= 2


@pytest.mark.parametrize("wrong", ["resnet9", "ResNet8", "mobilenet_v2"])
def test_unknown_model_suggests_the_closest(wrong: str) -> None:
    with pytest.raises(InvalidInputError, match="did you mean '(resnet8|mobilenetv2)'"):
        zoo.load(wrong)


def test_weights_survive_the_file_bit_for_bit(tmp_path: Path) -> None:
    model = zoo.load("resnet8", pretrained=False).to(memory_format=torch.channels_last)
    path = zoo.save(model, tmp_path / "deep" / "own.safetensors")
    copy = zoo.load("resnet8", pretrained=False)
    zoo.load_weights(copy, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name]), name


@pytest.mark.parametrize("damage", ["truncated", "corrupt"])
def test_damaged_checkpoint_names_both_checksums(own_data: Path, damage: str) -> None:
    path = own_data / "checkpoints/resnet8.safetensors"
    expected, blob = sha256(path), bytearray(path.read_bytes())
    blob[-1_000] ^= 1
    path.write_bytes(blob if damage == "corrupt" else blob[:-10_000])
    with pytest.raises(DataError, match="corrupt or truncated") as caught:
        zoo.load("resnet8")
    assert expected in str(caught.value)
    assert sha256(path) in str(caught.value)


def test_missing_checkpoint_names_the_mend(own_data: Path) -> None:
    (own_data / "checkpoints/resnet8.safetensors").unlink()
    with pytest.raises(DataError, match="is missing. Restore it with: git checkout"):
        zoo.load("resnet8")


def test_file_that_is_not_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\x80\x04 a pickle, perhaps")
    with pytest.raises(DataError, match="corrupt or truncated, or no safetensors file"):
        zoo.load_weights(nn.Linear(2, 2), path)


def test_checkpoint_of_another_shape_names_the_tensor_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "five.safetensors"
    zoo.save(zoo.MODELS["resnet8"].build(), path)
    tensors = load_file(path)
    tensors["classifier.weight"] = torch.zeros(5, 64)
    save_file(tensors, path)
    model = zoo.load("resnet8", pretrained=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    message = r"classifier\.weight is \[5, 64\] in the file, \[10, 64\] in the model"
    with pytest.raises(DataError, match=message):
        zoo.load_weights(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = zoo.save(zoo.load("mobilenetv2", pretrained=False), tmp_path / "m.safetensors")
    with pytest.raises(DataError, match=r"does not fit ResNet8: .* and \d+ more"):
        zoo.load_weights(zoo.load("resnet8", pretrained=False), path)


def test_failed_save_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write into"):
        zoo.save(nn.Linear(2, 2), tmp_path / "file" / "x.safetensors")


# --- recipes ---


def test_recipe_trains_the_same_model_twice(data: zoo.Dataset) -> None:
    few = replace(data, train=data.train.take(96))
    plan = Plan(epochs=1, learning_rate=0.05, batch_size=32)
    build = zoo.MODELS["resnet8"].build
    (first, curve), (second, _) = (zoo.train(build, few, plan, progress=False) for _ in range(2))
    assert not first.training
    assert curve[-1].step == 3
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_biases_and_batchnorm_do_not_decay() -> None:
    from qutils.zoo.recipes import WEIGHT_DECAY, parameter_groups

    model = zoo.load("resnet8", pretrained=False)
    decay, keep = parameter_groups(model)
    assert decay["weight_decay"] == WEIGHT_DECAY
    assert keep["weight_decay"] == 0
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert {id(p) for p in decay["params"]} == {id(p) for p in weights}
    assert len(decay["params"]) + len(keep["params"]) == len(list(model.parameters()))
