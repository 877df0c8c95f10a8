"""A browser, and servers of the notebooks on free loopback ports, started once for all tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Browser

from qutils.files import ROOT
from qutils.lab.browser.chromium import NAMES, executable, launched
from qutils.lab.browser.notebooks import with_profile
from qutils.lab.runner.parameters import parse_parameters
from qutils.lab.serve import Served, serving
from qutils.lab.site.site import tutorial_notebooks
from tests.browser import kernels

TUTORIAL = tutorial_notebooks()
#: Those with something to drag.
EXPLORING = tuple(path for path in TUTORIAL if "explore(" in path.read_text())
TOY = """\
from qutils.lab.explorers import explore
from tests.unit.lab.explorers.toy import Counting, Toy
"""
PARAMETERS = 'profile: str = "smoke"  # has no effect'
_KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if executable() is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with launched() as found:
        yield found


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's notebooks in their smoke profile, and a toy, where tests may change them."""
    folder = tmp_path_factory.mktemp("notebooks")
    for path in TUTORIAL:
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = with_profile(cell.source, "smoke")
                names = {p.name: p.default for p in parse_parameters(cell.source)}
                assert names["profile"] == "smoke"
        nbformat.write(notebook, folder / path.name)
    if (ROOT / "notebooks" / "images").is_dir():
        shutil.copytree(ROOT / "notebooks" / "images", folder / "images")
    for name, start in (("toy", "explore(Counting())"), ("plain", "explore(Toy(), bits=8)")):
        cells = [new_markdown_cell(f"# {name}\n\n$x^2$"), new_code_cell(TOY)]
        cells.append(new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}))
        cells.append(new_code_cell(start))
        nbformat.write(new_notebook(cells=cells, metadata=_KERNEL), folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Jupyter with settings of its own, nothing of the user's."""
    return settings_in(tmp_path_factory.mktemp("jupyter"))


def settings_in(folder: Path) -> dict[str, str]:
    """Environment of a Jupyter that keeps its settings in a folder."""
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": str(folder / name.lower()) for name in names}
    return {**own, "IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def lab(
    browser: Browser, copies: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """JupyterLab whose kernels are forked: they need not import torch one by one."""
    settings = settings_in(tmp_path_factory.mktemp("jupyter_lab"))
    folder = Path(settings["JUPYTER_CONFIG_DIR"])
    folder.mkdir()
    if sys.platform == "linux":
        (folder / "jupyter_server_config.py").write_text(kernels.SETTINGS)
    with serving("lab", copies / "toy.ipynb", extra=settings) as served:
        yield served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if find_spec("playwright") is None:
                item.add_marker(pytest.mark.skip(reason="playwright is not installed"))
