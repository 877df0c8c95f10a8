"""Archives from strangers: what PyTorch would execute on opening them is refused before."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from qutils.backends.export import export
from qutils.backends.inductor.pt2 import check
from qutils.errors import DataError, UnsupportedError
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import linear

Change = Callable[[str, bytes], bytes]


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    sim = calibrate(nn.Sequential(linear(6, 3)), torch.randn(8, 6), target="inductor")
    return export(sim, tmp_path_factory.mktemp("pt2") / "net.pt2")


def rewritten(file: Path, path: Path, change: Change, **more: bytes) -> Path:
    """A copy of the archive with other contents, and further members."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, data in more.items():
            new.writestr(f"{old.namelist()[0].partition('/')[0]}/{name}", data)
    return path


def replacing(old: str, new: str) -> Change:
    def change(name: str, data: bytes) -> bytes:
        return data.replace(old.encode(), new.encode()) if name.endswith(".json") else data

    return change


def test_our_own_files_pass(file):
    check(file)


def test_a_pickle_is_not_opened(file, tmp_path):
    sprung = tmp_path / "sprung"
    payload = io.BytesIO()
    torch.save(Trap(sprung), payload)

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return payload.getvalue() if "weights/weight_" in name else data

    path = rewritten(file, tmp_path / "trap.pt2", change)
    with pytest.raises(UnsupportedError, match="a pickled tensor"):
        check(path)
    assert not sprung.exists()
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert sprung.exists()  # the trap works: PyTorch itself springs it


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (replacing("torch.ops.aten.linear.default", "torch.hub.load"), r"torch\.hub\.load"),
        (replacing("torch.ops.aten.linear.default", "torch.ops.aten.from_file.default"), "from_f"),
        (replacing("positive=True", "x=__import__('os')"), "__import__"),
        (replacing("Symbol('", "9**9**9**9*Symbol('"), r"9\*\*9"),
        (replacing("Symbol('", "Pow(9, 9)*Symbol('"), "Pow"),
        (replacing("Symbol('", "1" * 10_000 + "x*Symbol('"), "1111x"),  # and that at once
    ],
    ids=[
        *("function", "reads-files", "size-as-code", "size-as-power", "size-as-power-by-name"),
        "size-without-end",
    ],
)
def test_graphs_call_nothing_but_aten(file, tmp_path, change, word):
    with pytest.raises(UnsupportedError, match=word):
        check(rewritten(file, tmp_path / "net.pt2", change))


def test_rows_of_several_a_sample_are_sizes(tmp_path):
    """Of ``[2 N, 5]``, which PyTorch writes as ``Mul(Integer(2), Symbol(...))``."""
    net = nn.Sequential(nn.Unflatten(1, (2, 5)), nn.Linear(5, 3))
    path = export(calibrate(net, torch.randn(8, 10), target="inductor"), tmp_path / "net.pt2")
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("model.json")]
        assert "Mul(Integer(2), Symbol(" in archive.read(names[0]).decode()
    check(path)


@pytest.mark.parametrize("root", ["{root}", "another"], ids=["same-folder", "other-folder"])
def test_a_member_that_is_there_twice_is_refused(file, tmp_path, root):
    """Which of the two PyTorch reads is not for us to guess."""
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        root = root.format(root=old.namelist()[0].partition("/")[0])
        bad = old.read(next(name for name in old.namelist() if name.endswith("model.json")))
        with (
            pytest.warns(UserWarning, match="Duplicate name")
            if root != "another"
            else (contextlib.nullcontext())
        ):
            new.writestr(f"{root}/models/model.json", bad)
            for name in old.namelist():
                new.writestr(name, old.read(name))
    with pytest.raises(UnsupportedError, match=r"models/model\.json"):
        check(path)


@pytest.mark.parametrize(
    "member",
    ["data/aotinductor/model/code.so", "data/weights/model.pt", "data/constants/custom_obj_0"],
)
def test_compiled_code_and_objects_are_refused(file, tmp_path, member):
    path = rewritten(file, tmp_path / "net.pt2", lambda _, data: data, **{member: b"\x7fELF"})
    with pytest.raises(UnsupportedError, match=member.rpartition("/")[2]):
        check(path)


def test_sample_inputs_are_refused(file, tmp_path):
    def change(name: str, data: bytes) -> bytes:
        return pickle.dumps(([], {})) if name.endswith("sample_inputs/model.pt") else data

    with pytest.raises(UnsupportedError, match="sample_inputs"):
        check(rewritten(file, tmp_path / "net.pt2", change))


@pytest.mark.parametrize("keep", [0, 0.5, 0.99], ids=["empty", "half", "tail-lost"])
def test_truncated_file(file, tmp_path, keep):
    path, data = tmp_path / "cut.pt2", file.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"cut\.pt2 is corrupt or truncated"):
        check(path)


def test_damaged_file(file, tmp_path):
    path, data = tmp_path / "bad.pt2", bytearray(file.read_bytes())
    place = data.index(b"graph_module")
    data[place : place + 4] = b"GRAP"
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        check(path)


def test_archive_without_model(tmp_path):
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/readme", json.dumps({}))
    with pytest.raises(DataError, match="holds no model"):
        check(path)
