"""Folders and outputs: matched by name or one for one, or refused; in no case shifted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import qutils as q
from qutils import zoo
from qutils.errors import InvalidInputError
from qutils.evaluate import bench
from qutils.zoo import Preprocessing, read_photographs
from qutils.zoo.class_order import ClassFolders

GREY = Preprocessing(8, 8, mean=(0.5,), std=(0.5,))
ROOT = Path("images")


def folders(*filled: str, empty: tuple[str, ...] = ()) -> ClassFolders:
    return ClassFolders(ROOT, filled, empty)


def test_one_folder_for_each_output_is_the_class_as_it_is_sorted():
    assert folders("b", "c", empty=("a",)).order(outputs=3).names == ("a", "b", "c")
    assert folders("b", "c").order().names == ("b", "c")  # nothing to compare with


@pytest.mark.parametrize(
    ("found", "outputs", "said"),
    [
        (folders("b", "c"), 3, "2 folders (b, c), but the network tells 3 classes apart"),
        (folders("a", "b", "c"), 2, "3 folders (a, b, c), but the network tells 2 classes apart"),
        (folders("b", empty=("a",)), 3, "2 folders, 1 of them empty (a, b), but"),
        (folders("a", "b"), 1, "but the network tells 1 classes apart"),
        (folders("n01440764", "n02123045"), 1001, "but the network tells 1001 classes apart"),
    ],
)
def test_another_number_is_refused_with_the_fix(found, outputs, said):
    with pytest.raises(InvalidInputError) as caught:
        found.order(outputs=outputs)
    assert said in str(caught.value)
    assert f"Name all {outputs} classes in the order of the outputs" in str(caught.value)


def test_the_order_given_comes_before_all_else():
    found = folders("a", "b")
    given = ["x", "b", "a"]
    assert found.order(given, 3, ["a", "b", "c"]).names == ("x", "b", "a")
    with pytest.raises(InvalidInputError, match="names 3 classes, .* tells 4 classes apart"):
        found.order(given, 4)
    with pytest.raises(InvalidInputError, match="names a more than once"):
        found.order(["a", "b", "a"], 3)


def test_the_names_of_the_network_place_the_folders_there_are():
    names = ["dog", "cat", "ant"]
    assert folders("ant", "cat").order(None, 3, names).names == ("dog", "cat", "ant")
    with pytest.raises(InvalidInputError, match=r"dog, cat, ant: bee is not among them\. Name all"):
        folders("ant", "bee", "cat").order(None, 3, names)
    with pytest.raises(InvalidInputError, match="2 folders .* tells 4 classes apart"):
        folders("ant", "cat").order(None, 4, names)  # names of something else


def test_wordnet_ids_are_imagenets_if_the_network_has_a_thousand_outputs():
    some = folders("n01440764", "n02123045")
    wnids = zoo.imagenet_wnids()
    assert some.order(outputs=1000).names == some.order().names == wnids
    assert some.order(None, 1000, [f"class {i}" for i in range(1000)]).names == wnids
    assert some.order(outputs=2).names == ("n01440764", "n02123045")  # trained on these two


def test_numbers_whose_order_is_open_are_refused():
    assert folders("0", "1", "2").order(outputs=3).names == ("0", "1", "2")
    assert folders("02", "10").order(outputs=2).names == ("02", "10")
    with pytest.raises(InvalidInputError, match="another order as text, 1, 10, 2, than by value"):
        folders("1", "10", "2").order(outputs=3)


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """Four images in each of two folders; what is dark lies in ``dark``."""
    for name, shade in (("bright", 200), ("dark", 20)):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("L", (8, 8), shade + i).save(tmp_path / name / f"{i}.png")
    return tmp_path


def shade_net(outputs: int) -> nn.Module:
    """Bright is the last but one of its outputs, dark the last."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, outputs)).eval()
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.fill_(-10)
        net[1].bias[-2:] = 0
        net[1].weight[-2:] = torch.tensor([[1.0], [-1.0]])
    return net


def test_scores_and_training_refuse_labels_of_another_network(shades):
    read, net = read_photographs(shades, GREY), shade_net(3)
    advice = r"tells 3 classes apart, the labels 2\. Read the folder with outputs=3"
    with pytest.raises(InvalidInputError, match=advice):
        bench.evaluate(bench.predict_with(net), read)
    sim = q.calibrate(net, read)  # needs no labels
    with pytest.raises(InvalidInputError, match=advice):
        q.qat.finetune(sim, read, batch_size=4, progress=False)
    with pytest.raises(InvalidInputError, match="2 folders .* 3 classes apart.*classes="):
        read_photographs(shades, GREY, outputs=3)
    named = read_photographs(shades, GREY, classes=["middle", "bright", "dark"], outputs=3)
    assert bench.evaluate(bench.predict_with(net), named).top1 == 100
    assert q.qat.finetune(sim, named, batch_size=4, progress=False).curve


def test_an_empty_folder_numbers_the_others(shades):
    (shades / "a").mkdir()
    read = read_photographs(shades, GREY, outputs=3)
    assert read.classes == ("a", "bright", "dark") == tuple(zoo.class_folders(shades))
    assert bench.evaluate(bench.predict_with(shade_net(3)), read).top1 == 100


def test_matched_renumbers_a_part_as_the_whole(shades):
    part = read_photographs(shades, GREY).pick(torch.tensor([0, 7]))
    assert part.labels is not None
    assert part.labels.tolist() == [0, 1]
    other = part.matched(3, ["dark", "none", "bright"])
    assert other.labels is not None
    assert other.labels.tolist() == [2, 0]
    only = read_photographs(shades, GREY).pick(torch.tensor([7]))
    with pytest.raises(InvalidInputError, match="2 folders"):
        only.matched(1)
