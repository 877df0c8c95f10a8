"""Settings of the whole test run: order, threads, seeds, hypothesis profile, what took how long."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from qutils.lab.runner import process
from qutils.lab.runner.preloaded import PreloadedLauncher, common_imports
from qutils.lab.runner.runner import Beside
from tools import budgets

# Parallel workers share the cores: without this, four workers of many threads slow each other.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, (os.cpu_count() or 1) // _workers))

# The same examples on every machine; no deadline, as the first call of an operator is slow.
settings.register_profile("lab", deadline=None, derandomize=True, max_examples=60)
# Others every night.
settings.register_profile("nightly", deadline=None, max_examples=300)
NIGHTLY = os.environ.get("QUTILS_NIGHTLY") == "1"
settings.load_profile("nightly" if NIGHTLY else "lab")

#: ``make test`` runs the core alone; ``.ci/run`` and pytest without make run these as well.
CORE = os.environ.get("QUTILS_CORE") == "1"
#: Marks of what is not of the core -> the reason, unless the mark gives one.
LONG = {
    "browser": "drives a real browser",
    "notebook": "executes a notebook",
    "slow": "takes seconds",
}

#: What takes longest, so that no worker is left alone with one of them at the end.
FIRST = (
    "tests/browser",
    "tests/unit/detection",
    "tests/unit/lab/explorers",
    "tests/unit/experiments",
    "tests/notebooks",
    "tests/unit/backends",
)
#: Folders whose files one worker runs, as they share servers, processes, networks or explorers.
TOGETHER = (
    "tests/browser/",
    "tests/notebooks/",
    "tests/unit/detection/",
    "tests/unit/experiments/",
    "tests/unit/lab/explorers/",
)
#: Of files that use the same captured networks, which one worker keeps for all of them.
NETWORKS = re.compile(
    r"from tests\.unit\.graph\.networks import (\([^)]*|.*)\b(observed|graph_of)\b"
)
_began = time.time()
_seconds: dict[str, float] = defaultdict(float)  # by test file


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker its share of the cores, and with it the runtimes and processes it starts."""
    workers = len(getattr(config.option, "tx", None) or ())  # in the process that starts them
    if workers > 1:
        share = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(share))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Each test starts from the same seeds, whatever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (libraries under test use the global generator)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def beside(root: Path) -> Iterator[Beside]:
    """Run notebooks in forks of a process that has imported torch (Linux), else as usual.

    A worker and its kernel import for seven seconds (CPU). Where it matters how they are started,
    a test does without.
    """
    if sys.platform != "linux":
        yield Beside()
        return
    reports = sorted((root / "notebooks" / "reports").glob("*.ipynb"))
    launcher = PreloadedLauncher([*common_imports(reports), "import not_there_at_all"])
    try:
        yield Beside(launcher)
    finally:
        launcher.stop()
        launcher.close()


@pytest.fixture
def forking(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have also what a command runs in this test forked, as ``beside`` does it."""
    if beside.launcher is not None:
        monkeypatch.setattr(process, "Launcher", lambda: beside.launcher)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    """Fail on test files that cannot be imported: doctest only skips them, tests and all."""
    report = yield
    is_test = collector.config.rootpath / "tests" in collector.path.parents
    if is_test and report.skipped and "unable to import module" in str(report.longrepr):
        report.outcome = "failed"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest files; skip what belongs to the nightly run or to ``.ci/run``."""
    place = {name: index for index, name in enumerate(FIRST)}
    items.sort(key=lambda item: next((place[f] for f in FIRST if item.nodeid.startswith(f)), 99))
    for item in items:
        reason = next((mark.kwargs["reason"] for mark in item.iter_markers("nightly")), None)
        if reason is not None and not NIGHTLY:
            item.add_marker(pytest.mark.skip(reason=f"nightly (QUTILS_NIGHTLY=1): {reason}"))
        long = next((mark for name in LONG for mark in item.iter_markers(name)), None)
        if long is not None and CORE:
            reason = long.kwargs.get("reason", LONG[long.name])
            item.add_marker(pytest.mark.skip(reason=f"left to .ci/run: {reason}"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker for each file, as ``--dist loadfile`` has it, or for files that share a lot."""
    from xdist.scheduler import LoadFileScheduling

    @cache
    def shared(file: str) -> str:
        if folder := next((folder for folder in TOGETHER if file.startswith(folder)), None):
            return folder
        path = config.rootpath / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return "networks" if NETWORKS.search(text) else file

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return shared(super()._split_scope(nodeid))

    return ByFile(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what each file takes: set-up, call and tear-down."""
    _seconds[report.nodeid.split("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which folders took longest, and in ``.ci/run`` which parts went over their budget."""
    if hasattr(config, "workerinput") or not _seconds:
        return
    folders = budgets.by_folder(_seconds)
    terminalreporter.section("seconds by folder, summed over workers")
    slowest = list(folders.items())[:12]
    terminalreporter.write_line(", ".join(f"{name} {took:.0f}" for name, took in slowest))
    path = os.environ.get(budgets.DURATIONS)
    if path:
        budgets.keep(Path(path), "tests", folders)
        began = float(os.environ.get("QUTILS_CI_STARTED", _began))
        budgets.keep(
            Path(path), "steps", {"tests": time.time() - _began, "total": time.time() - began}
        )
        terminalreporter.section("parts of .ci/run against their budgets")
        for line in budgets.report(Path(path)):
            terminalreporter.write_line(line)
