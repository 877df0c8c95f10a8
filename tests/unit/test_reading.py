"""The way in for files: each kind of failure that the fuzzer found, with a minimal file."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from qutils import isolated
from qutils.cli.commands.inputs import read_inputs
from qutils.detection.data_yaml import read_yaml
from qutils.errors import DataError, InvalidInputError
from qutils.files import atomic_path, write_text
from qutils.lab.results.compare import load as load_changes
from qutils.lab.runner.coercion import yaml_texts
from qutils.lab.runner.parameters import read_parameters
from qutils.lab.runner.status import load_status
from qutils.reading import cause, parse_yaml, reading


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RecursionError(), "it is nested too deeply"),
        (MemoryError(), "it asks for more memory than there is"),
        (BaseException("a panic"), "a panic"),
    ],
)
def test_whatever_a_parser_raises_names_path_cause_and_fix(tmp_path, raised, said):
    path = written(tmp_path / "a.bin", b"12")
    with pytest.raises(DataError) as caught, reading(path, "Export it again"):
        raise raised
    expected = f"{path} is corrupt or truncated (2 bytes): {said}. Export it again."
    assert str(caught.value) == expected


def test_sizes_are_bounded_before_reading_and_ctrl_c_passes(tmp_path):
    path = written(tmp_path / "a.bin", b"12345")
    with pytest.raises(DataError, match="has 5 bytes, more than the 4"), reading(path, "x", most=4):
        pytest.fail("the block ran")
    with pytest.raises(KeyboardInterrupt), reading(path, "x"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 3000, "nested too deeply"),
        ("&a [*a]", "or holds itself"),
        ("2001-99-99", "month must be in 1..12"),
        ("!!int x", "invalid literal for int"),
        ("9" * 5000, "4300 digits"),
    ],
)
def test_yaml_that_cannot_be_is_one_error(text, said):
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)


def test_anchors_that_multiply_are_refused():
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ValueError, match="more than 1,000,000 values"):
        yaml_texts("\n".join(lines))


@pytest.mark.parametrize("count", ["99999999999", "1e308", "0", "-1"])
def test_counts_of_a_yaml_are_bounded_before_they_are_used(tmp_path, count):
    path = written(tmp_path / "data.yaml", f"train: x\nnc: {count}\n".encode())
    with pytest.raises(DataError, match="nc is"):
        _ = read_yaml(path).names


def npz(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def npy(shape: str) -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros((2, 4), np.float32))
    head = out.getvalue()
    return head.replace(b"(2, 4), }" + b" " * (len(shape) - 6), shape.encode() + b", }")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("member.npz", npz(inputs=b"no array at all")),
        ("huge.npz", npz(inputs=npy("(200000, 400000)"))),
        ("huge.npy", npy("(200000, 400000)")),
        ("open.npy", npy("(2, (4")),
    ],
)
def test_arrays_that_are_none_or_declare_too_much(tmp_path, name, content):
    with pytest.raises(DataError, match="not a sound NumPy file"):
        read_inputs(written(tmp_path / name, content))


def test_a_notebook_with_cells_of_other_types(tmp_path):
    book = '{"cells":[{"cell_type":"code","metadata":{"tags":5},"source":"","outputs":[]}],'
    text = book + '"metadata":{},"nbformat":4,"nbformat_minor":4}'
    with pytest.raises(InvalidInputError, match="is not a notebook"):
        read_parameters(written(tmp_path / "a.ipynb", text.encode()))


def test_values_of_other_types_in_what_a_run_left(tmp_path):
    written(tmp_path / "status.json", b'{"outcome": "ok", "title": 5}')
    with pytest.raises(DataError, match="is damaged"):
        load_status(tmp_path)
    with pytest.raises(DataError, match="is damaged"):
        load_changes(written(tmp_path / "changes.json", b"[1]"))


def test_a_crash_happens_in_another_process_and_is_our_error(tmp_path):
    path = written(tmp_path / "net.tflite", b"x")
    with pytest.raises(DataError, match=r"crashes \(SIGSEGV\)\. Export it again"):
        isolated.check_survives(path, "import os; os.kill(os.getpid(), 11)")


def test_what_this_process_wrote_is_not_tried(tmp_path):
    path = tmp_path / "net.tflite"
    write_text(path, "x")
    isolated.check_survives(path, "import os; os.kill(os.getpid(), 11)")


def test_temporary_names_of_killed_runs_are_collected(tmp_path):
    gone, own = tmp_path / ".tmp-999999999-ab.json", tmp_path / f".tmp-{os.getpid()}-cd.json"
    for path in (gone, own):
        path.write_text("")
        os.utime(path, (0, 0))
    with atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
    assert sorted(p.name for p in tmp_path.iterdir()) == [own.name, "a.json"]


def test_causes_are_short():
    assert len(cause(ValueError("x" * 10_000))) == 300
