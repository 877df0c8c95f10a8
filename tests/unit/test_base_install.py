"""The base install: a library user needs none of the packages of notebooks and reports."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qutils.files import ROOT

#: What is imported, where its name is not the distribution's.
_IMPORTED = {"pillow": "PIL", "pyyaml": "yaml"}
_WITHOUT = """
import sys
class Without:  # a finder that does not see some packages
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in {names}
        return None if hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Without, sys.meta_path)
from qutils.cli import main
main({arguments}, prog_name="qutils")
"""


def of_reports() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = project["optional-dependencies"]["report"]
    names = {row.split(">")[0].split("=")[0] for row in rows}
    # torch needs jinja2 itself
    return {_IMPORTED.get(name, name) for name in names} - {"jinja2"}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = _WITHOUT.format(names=of_reports(), arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.mark.slow(reason="a process that imports torch and quantizes a network")
def test_a_model_is_quantized_with_the_base_install(tmp_path: Path) -> None:
    done = run(tmp_path, "quantize", "resnet8", "out.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.onnx").is_file()


@pytest.mark.parametrize("arguments", [("--help",), ("explain", "--help"), ("runtimes",)])
def test_help_needs_no_more_than_the_base(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr


def test_a_command_of_reports_names_what_installs_them(tmp_path: Path) -> None:
    done = run(tmp_path, "run", "a.ipynb", "-p", "bits", "4")
    assert done.returncode == 1
    assert "is not installed. Install it with: make report, or pip install -e '.[report]'" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr
