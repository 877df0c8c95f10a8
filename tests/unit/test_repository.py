"""The repository keeps its own rules: requirements, sizes, notebooks, no hosts of registries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

Completed = subprocess.CompletedProcess[str]
ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "qutils").rglob("*.py"))
NOTEBOOKS = sorted(
    path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def environment() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text())
    return loaded


def named(requirements: list[str]) -> dict[str, str]:
    """``["numpy>=2,<3"]`` -> ``{"numpy": ">=2,<3"}``, names normalized."""
    rows = [re.fullmatch(r"([A-Za-z0-9._-]+?)\s*([<>=~!].*)", row) for row in requirements]
    assert all(rows), requirements
    return {re.sub(r"[-_.]+", "-", row[1]).lower(): row[2] for row in rows if row}


# --- requirements ---


def test_environment_and_pyproject_name_the_same_requirements() -> None:
    project = pyproject()["project"]
    wanted = named(project["dependencies"])
    for extra in ("report", "lab", "dev"):
        for name, specifier in named(project["optional-dependencies"][extra]).items():
            assert wanted.setdefault(name, specifier) == specifier, name
    conda = environment()["dependencies"]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    given = named([row for row in pip if not row.startswith("-")])
    torch = named([row for row in conda if isinstance(row, str) and row.startswith("pytorch")])
    given["torch"] = torch["pytorch-cpu"].replace("=", "==")  # conda's "=" is pip's "=="
    assert given == wanted


def test_environment_installs_the_checkout_under_a_supported_python() -> None:
    conda = environment()["dependencies"]
    (pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    assert "--editable ." in pip
    (python,) = (row for row in conda if isinstance(row, str) and row.startswith("python="))
    version = tuple(int(part) for part in python.removeprefix("python=").split("."))
    floor = pyproject()["project"]["requires-python"].removeprefix(">=")
    assert version >= tuple(int(part) for part in floor.split("."))


def test_no_requirement_is_unbounded() -> None:
    project = pyproject()["project"]
    extras = project["optional-dependencies"].values()
    for name, specifier in named([*project["dependencies"], *chain(*extras)]).items():
        assert "==" in specifier or "<" in specifier, name


def test_torch_is_pinned_exactly() -> None:
    assert named(pyproject()["project"]["dependencies"])["torch"] == "==2.13.0"


def test_no_file_names_the_host_of_an_index() -> None:
    hosts = re.compile(r"(pypi|pythonhosted|download\.pytorch|anaconda|ghcr|docker)\.(org|com|io)")
    names = ["pyproject.toml", "environment.yml", "Makefile", ".ci/run", ".pre-commit-config.yaml"]
    for path in [ROOT / name for name in [*names, ".github/workflows/ci.yml"]] + SOURCES:
        assert not hosts.search(path.read_text()), relative(path)


# --- sources ---


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source_file_is_a_small_room(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350


def test_no_source_unpickles() -> None:
    """``torch.load`` only with ``weights_only=True``; no ``pickle.load``, no ``allow_pickle``."""
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(r"pickle\.loads?\(|allow_pickle=True|weights_only=False", text), path
        for call in re.findall(r"torch\.load\(.*", text):
            assert "weights_only=True" in call, path


# --- notebooks ---


@pytest.mark.parametrize("path", NOTEBOOKS, ids=relative)
def test_notebook_is_stripped_and_has_one_parameters_cell(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert "papermill" not in notebook["metadata"]
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"]]
    assert sum("parameters" in row for row in tags) == 1
    for cell in notebook["cells"]:
        assert "papermill" not in cell["metadata"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


# --- make ---


def make(*arguments: str, cwd: Path, path: str = "/usr/bin:/bin") -> Completed:
    """Run make as a new user would: a bare environment."""
    environment = {"HOME": str(cwd), "PATH": path, "LANG": "C.UTF-8"}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what ``make`` reads."""
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def fake(folder: Path, name: str, script: str) -> Path:
    """An executable that stands in for a program."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_help_is_the_default_and_names_every_target(checkout: Path) -> None:
    text = make(cwd=checkout).stdout
    targets = ("report", "test", "lab", "app", "site", "help", "bench", "bench-browser", "lint")
    for target in (*targets, "clean"):
        assert re.search(rf"^  make {target} ", text, re.MULTILINE), target


def test_without_a_recent_python_make_says_so(checkout: Path) -> None:
    tools = checkout / "tools"
    tools.mkdir()
    for name in ("make", "touch", "rm"):
        (tools / name).symlink_to(str(shutil.which(name)))
    fake(tools, "python3", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    result = make("report", cwd=checkout, path=str(tools))
    assert result.returncode != 0
    assert "no Python 3.11 or newer (found: Python 3.9.2)" in result.stderr
    assert "PYTHON=" in result.stderr
    assert not (checkout / ".venv").exists()


def test_setup_runs_once_and_again_when_pyproject_changes(checkout: Path) -> None:
    fake(checkout / ".venv/bin", "python", 'echo "$@" >> pip.log')
    fake(checkout / ".venv/bin", "qutils", 'echo "ran $@"')
    log = checkout / "pip.log"
    for _ in range(2):
        assert make("report", cwd=checkout).stdout.endswith("ran report\n")
    assert log.read_text().count("install") == 1
    later = (checkout / ".venv/.base").stat().st_mtime + 10
    os.utime(checkout / "pyproject.toml", (later, later))
    make("report", cwd=checkout)
    assert log.read_text().count("install") == 2


def test_failed_setup_shows_the_error_and_is_tried_again(checkout: Path) -> None:
    fake(checkout / ".venv/bin", "python", "echo ERROR: no such wheel >&2; exit 1")
    result = make("report", cwd=checkout)
    assert result.returncode != 0
    assert "ERROR: no such wheel" in result.stderr
    assert not (checkout / ".venv/.base").exists()


def test_profile_is_passed_on(checkout: Path) -> None:
    fake(checkout / ".venv/bin", "python", "exit 0")
    fake(checkout / ".venv/bin", "qutils", 'echo "ran $@"')
    result = make("report", "PROFILE=full", cwd=checkout)
    assert result.stdout.endswith("ran report -p profile full\n")
