from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from qutils.detection.dataset import DetectionData
from qutils.detection.labels import label_file
from qutils.detection.links import write_yaml


def data(folder: Path) -> DetectionData:
    pictures = []
    for name in ("a", "b"):
        path = folder / "images" / "val" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
        pictures.append(path)
    label_file(pictures[0]).parent.mkdir(parents=True)
    label_file(pictures[0]).write_text("0 0.5 0.5 0.5 0.5\n")
    return DetectionData(folder / "data.yaml", ("one",), {"val": tuple(pictures)})


def test_pictures_and_labels_are_linked_in_order_and_nothing_can_run(tmp_path):
    path = write_yaml(data(tmp_path / "given"), tmp_path)
    content = yaml.safe_load(path.read_text())
    assert set(content) == {"path", "names", "val"}
    linked = sorted(Path(content["val"]).iterdir())
    assert [p.resolve().name for p in linked] == ["a.png", "b.png"]
    assert label_file(linked[0]).read_text() == "0 0.5 0.5 0.5 0.5\n"
    assert not label_file(linked[1]).exists()


def test_caches_beside_a_strangers_labels_are_out_of_sight(tmp_path):
    given = data(tmp_path / "given")
    np.save(tmp_path / "given" / "labels" / "val.cache.npy", np.array([{"x": 1}], dtype=object))
    (tmp_path / "given" / "labels" / "val.cache").write_bytes(b"pickled")
    write_yaml(given, tmp_path)
    assert [p.name for p in (tmp_path / "labels").iterdir()] == ["val"]


def test_a_second_time_replaces_what_was_linked(tmp_path):
    given = data(tmp_path / "given")
    write_yaml(given, tmp_path)
    write_yaml(given.only("val", given.pictures("val")[1:]), tmp_path)
    assert len(list((tmp_path / "images" / "val").iterdir())) == 1
    assert not list((tmp_path / "labels" / "val").iterdir())
