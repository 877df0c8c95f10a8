"""The recipes of CONTRIBUTING.md, followed in a copy: every list then shows what was added."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qutils.files import ROOT

#: A block of Python whose first line names its file.
_BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: One whose lines belong below a line of a file that is there.
_LINES = re.compile(r"^```python\n# (\S+), below `(.*?)`\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Looks for what the recipes add, as a user would: by names only.
_FOLLOWED = """
import json, sys, tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from click.testing import CliRunner

import qutils as q
from qutils import cli, figures
from qutils.files import data_dir, sha256

def shown(*words):
    return CliRunner().invoke(cli.main, words).output

folder = data_dir() / "checkpoints"
q.zoo.save(q.MODELS["tiny"].build(), q.MODELS["tiny"].checkpoint)
line = f"{sha256(folder / 'tiny.safetensors')}  tiny.safetensors"
(folder / "SHA256SUMS").write_text(line)

torch.manual_seed(0)
x = torch.randn(16, 1, 28, 28)
recipe = q.Recipe(activations=q.Scheme(observer="shrunk"))
sim = q.calibrate(q.zoo.load("tiny"), x, recipe, target="numpy")
file = q.export(sim, "tiny.qdq")
runtime = q.runtimes.load(file)
with torch.no_grad():
    wanted = sim(x)
ranges = [q.observe(q.zoo.load("tiny"), x).simulate(
    q.Recipe(activations=q.Scheme(observer=name), boundary=q.Scheme(observer=name))
).quantizers["input"].scale.item() for name in ("minmax", "shrunk")]

class Sine(torch.nn.Module):
    def forward(self, x):
        return x.sin()

layers = torch.nn.Conv2d(1, 2, 3), Sine(), torch.nn.Conv2d(2, 2, 3), torch.nn.Flatten()
wave = torch.nn.Sequential(*layers, torch.nn.Linear(1152, 2)).eval()
waves = {target: q.calibrate(wave, x, target=target) for target in ("numpy", "onnxruntime")}
reference = q.integer.IntegerReference(waves["numpy"])
found = reference(x)
numpy_file = q.runtimes.load(q.export(waves["numpy"], "wave.qdq"))

from tests.unit.backends import everyday, operators
from tools.operators import state_of, written
everyday.EVERYDAY = {name: everyday.EVERYDAY[name] for name in OPERATORS}
first = {axes: name for name, (axes, _) in reversed(operators.OPERATORS.items())}
operators.OPERATORS = {name: operators.OPERATORS[name] for name in first.values()}
everyday.REFUSED = {}
print(json.dumps({
    "quantize": shown("quantize", "--help"),
    "runtimes": shown("runtimes"),
    "look": shown("train", "--help"),
    "face": [[*q.MODELS], [*q.OBSERVERS], [*q.RUNTIMES], [*q.TARGETS]],
    "color": figures.OBSERVER_COLORS["shrunk"],
    "runtime": runtime.name,
    "version": runtime.version,
    "kernels": runtime.kernels(),
    "off": float((torch.from_numpy(runtime.run(x.numpy())) - wanted).abs().max()),
    "largest": float(wanted.abs().max()),
    "ranges": ranges,
    "in_float": {t: [op.op for op in sim.coverage.in_float] for t, sim in waves.items()},
    "computed_in_float": reference.float_nodes,
    "sine_off": float((torch.from_numpy(numpy_file.run(x.numpy())) - found).abs().max()),
    "sine_largest": float(found.abs().max()),
    "table": written(state_of()),
}))
"""
_OPERATORS = ("add", "gelu", "sine")


def blocks() -> dict[str, str]:
    """The files that the recipes write, by path."""
    return dict(_BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


def added() -> list[tuple[str, str, str]]:
    """The lines that the recipes add: file, the line above, lines."""
    return _LINES.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """What a checkout shows in which every recipe was followed."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("qutils", "tools", "tests/unit/backends"):
        skipped = shutil.ignore_patterns("__pycache__", "test_*")
        shutil.copytree(ROOT / folder, copy / folder, ignore=skipped)
    (copy / "data" / "checkpoints").mkdir(parents=True)
    for path, code in blocks().items():
        assert not (copy / path).exists()
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(code, encoding="utf-8")
    for path, anchor, lines in added():
        text = (copy / path).read_text(encoding="utf-8")
        before, line, after = text.partition(f"{anchor}\n")
        assert line, f"{path} has no line {anchor!r}"
        (copy / path).write_text(before + line + lines + after, encoding="utf-8")
    script = f"OPERATORS = {_OPERATORS!r}\n{_FOLLOWED}"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(copy), "HOME": str(copy)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_recipes_touch_the_files_they_name_and_no_other():
    rooms = {path: Path(path).parent.as_posix() for path in blocks()}
    alone = ("qutils/numerics/observers", "qutils/zoo", "qutils/graph/ops")
    for room in alone:
        assert list(rooms.values()).count(room) == 1
    assert {room for room in rooms.values() if room not in alone} == {"qutils/backends/numpy"}
    assert [(path, len(lines.splitlines())) for path, _, lines in added()] == [
        ("qutils/backends/numpy/kernels.py", 1),
        ("tests/unit/backends/everyday.py", 1),
    ]


@pytest.mark.slow
def test_the_command_line_lists_what_was_added(followed):
    for name in ("shrunk", "numpy"):
        assert re.search(rf"[|\[]{name}[|\]]", followed["quantize"].replace("\n", "")), name
    assert re.search(
        r"^numpy +\.qdq +installed +saturates never \(numpy\)$", followed["runtimes"], re.M
    )
    assert "tiny" in followed["look"]


@pytest.mark.slow
def test_the_public_face_offers_what_was_added(followed):
    models, observers, runtimes, targets = followed["face"]
    assert models == ["resnet8", "mobilenetv2", "tiny"]
    assert observers[-1] == "shrunk"
    assert runtimes == targets
    assert runtimes[-1] == "numpy"
    assert followed["color"] == "#8B4513"


@pytest.mark.slow
def test_what_was_added_works(followed):
    whole, shrunk = followed["ranges"]
    assert shrunk == pytest.approx(0.9 * whole, rel=1e-5)
    assert followed["runtime"] == "numpy"
    assert followed["kernels"]["QuantizeLinear"] >= 1
    assert followed["off"] < 1e-4 * followed["largest"]


@pytest.mark.slow
def test_an_operator_is_integer_where_a_backend_names_it(followed):
    assert followed["in_float"] == {"numpy": [], "onnxruntime": ["sin"]}
    assert followed["computed_in_float"] == []
    assert followed["sine_off"] < 1e-4 * followed["sine_largest"]


@pytest.mark.slow
def test_the_table_of_operators_has_a_column_and_a_row_more(followed):
    (head,) = [line for line in followed["table"].splitlines() if line.startswith("| operator ")]
    assert head.endswith("| ONNX reference |")
    rows = {line.split(" | ")[0]: line for line in followed["table"].splitlines()}
    assert rows["| add"].endswith("| **integer** |")
    assert rows["| sine"].endswith("| float | **integer** |")
