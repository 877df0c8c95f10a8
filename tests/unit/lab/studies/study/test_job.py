"""The cache key of a job holds all the code and every library that its numbers depend on."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

from qutils.files import ROOT
from qutils.lab.studies.study import job
from qutils.lab.studies.study.plan import plan_jobs

#: Modules that move and check files, or word errors; they change no number.
PLUMBING = {"qutils.errors", "qutils.lab.results.cache", "qutils.lab.results.reuse", "qutils.files"}


def covered(module: str) -> bool:
    return module in PLUMBING or any(
        module == source or module.startswith(f"{source}.") for source in job.SOURCES
    )


def imported(path: Path) -> set[str]:
    """Modules of qutils that a file takes names from; a re-exported name counts as its module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "qutils":
            for alias in node.names:
                found |= origins(node.module, alias.name, alias.asname or alias.name, tree)
    return found


def origins(module: str, name: str, local: str, tree: ast.Module) -> set[str]:
    value = getattr(importlib.import_module(module), name, None)
    package = sys.modules.get(f"{module}.{name}")
    if package is None:
        made = getattr(value, "__module__", None) or module
        return {made if made.startswith("qutils") else module}  # a constant has no module
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == local
    }
    made = {getattr(getattr(package, attr, None), "__module__", None) for attr in used}
    return {m if m and m.startswith("qutils") else package.__name__ for m in made}


def test_sources_cover_what_the_job_imports():
    missing = {m for m in imported(Path(job.__file__)) if not covered(m)}
    assert not missing, f"add to SOURCES: {sorted(missing)}"


def test_sources_cover_what_they_import_themselves():
    """A helper that a source takes from elsewhere changes numbers just as well."""
    files = []
    for source in job.SOURCES:
        place = ROOT / source.replace(".", "/")
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    missing = {(path.name, m) for path in files for m in imported(path) if not covered(m)}
    assert not missing, f"add to SOURCES: {sorted(missing)}"


@pytest.mark.parametrize("library", job.VERSIONS)
def test_another_version_of_a_library_is_another_key(monkeypatch, library):
    (asked,) = plan_jobs(["resnet8"], ["qat"], [4], [4], ["mse"], ["per_channel"], "smoke")[:1]
    before, real = job.job_key(asked), job.metadata.version
    monkeypatch.setattr(
        job.metadata, "version", lambda name: "0.0" if name == library else real(name)
    )
    assert job.job_key(asked) != before


def test_libraries_the_sources_import_are_among_the_versions():
    names = set()
    for source in job.SOURCES:
        place = ROOT / source.replace(".", "/")
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for path in files:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module.split(".")[0])
    exact = {"qutils", "tqdm", "safetensors", "psutil", "pydantic", "yaml"}  # copies, as they are
    other = {"PIL", "ai_edge_litert", "executorch", "flatbuffers", "openvino", "tensorrt_rtx"}
    numeric = names - sys.stdlib_module_names - exact - other  # of runtimes that no study uses
    assert numeric <= set(job.VERSIONS)
