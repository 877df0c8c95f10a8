"""Datasets by path or by a name on Ultralytics' list."""

from __future__ import annotations

import importlib

import pytest

from qutils import detection as d
from qutils.errors import DataError
from tests.unit.detection.tiny import write_data


def test_a_yaml_that_lies_here_is_read(tmp_path, monkeypatch):
    path = write_data(tmp_path)
    assert len(d.find_dataset(path).pictures("val")) == 2
    monkeypatch.chdir(tmp_path)
    assert len(d.find_dataset(path.name).pictures("val")) == 2  # a bare name that is here


def test_no_such_name_is_refused_with_the_closest(yolo):
    with pytest.raises(DataError, match=r"coco9.yaml is missing.*did you mean coco8?\.yaml"):
        d.find_dataset("coco9.yaml")


def test_a_path_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.yaml is missing"):
        d.find_dataset(tmp_path / "no.yaml")


def test_a_root_may_be_in_the_folder_of_datasets(yolo, tmp_path, monkeypatch):
    utils = importlib.import_module("ultralytics.utils")
    monkeypatch.setattr(utils, "DATASETS_DIR", tmp_path / "datasets")
    moved = write_data(tmp_path / "datasets" / "mine", path="mine").rename(tmp_path / "mine.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="'path: mine' is read as .*datasets/mine"):
        data = d.find_dataset(moved)
    data.check("val")
