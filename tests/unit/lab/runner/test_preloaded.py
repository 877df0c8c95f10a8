"""Workers and kernels that are forked; the server imports for some seconds first."""

from __future__ import annotations

import io
import sys
import threading
import time

import psutil
import pytest

from qutils.lab.runner.launch import Launcher
from qutils.lab.runner.preloaded import PreloadedLauncher, common_imports, launcher_for
from qutils.lab.runner.runner import Beside, run_notebook
from tests.unit.lab.runner.toy import write_notebook

pytestmark = [
    pytest.mark.notebook,
    pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone"),
]


@pytest.fixture
def launcher(beside):
    assert isinstance(beside.launcher, PreloadedLauncher)
    return beside.launcher


def run(launcher, path, *cells):
    log = io.StringIO()
    notebook = write_notebook(path / "toy.ipynb", *cells)
    found = run_notebook(notebook, path / "out.ipynb", beside=Beside(launcher, 1, log))
    return found, log.getvalue()


def test_what_several_notebooks_import_is_preloaded(tmp_path):
    first = write_notebook(tmp_path / "1.ipynb", "import json\nfrom os import path, sep", "%magic")
    second = write_notebook(tmp_path / "2.ipynb", "import json, csv\nfrom os import path")
    found = common_imports([first, second])
    assert sorted(found) == ["from os import path", "from typing import Literal", "import json"]


def test_one_notebook_is_started_as_usual(tmp_path):
    with launcher_for([write_notebook(tmp_path / "1.ipynb")]) as made:
        assert type(made) is Launcher


def test_a_kernel_is_forked_and_on_its_own(launcher, tmp_path):
    """Torch is there without an import, in a process with its own folder, environment and id."""
    cell = (
        "import os, sys, psutil\nassert 'torch' in sys.modules\n"
        "parents = [p.pid for p in psutil.Process().parents()]\n"
        "import torch; assert torch.get_num_threads() == 1\n"
        "assert os.environ['OMP_NUM_THREADS'] == '1'\n"
        "assert 'QUTILS_REPORT_DIR' in os.environ and 'ORT_DISABLE_TELEMETRY' not in os.environ\n"
        "print('parents', *parents, 'in', os.getcwd(), file=sys.stderr)\n"
        "os.environ['OF_ONE_NOTEBOOK'] = 'set'; torch.of_one_notebook = True"
    )
    found, log = run(launcher, tmp_path, cell)
    assert found.exit_code == 0, log
    words = log[log.index("parents") :].split()
    assert str(launcher._server.pid) in words
    assert str(tmp_path) in words
    again = "import os, torch\nassert 'OF_ONE_NOTEBOOK' not in os.environ\n"
    found, log = run(launcher, tmp_path, again + "assert not hasattr(torch, 'of_one_notebook')")
    assert found.exit_code == 0, log


def test_a_failure_and_a_dead_kernel_are_reported_as_usual(launcher, tmp_path, capsys):
    found, _ = run(launcher, tmp_path / "a", "1 / 0")
    assert (found.exit_code, found.message) == (1, "ZeroDivisionError: division by zero")
    found, _ = run(launcher, tmp_path / "b", "import os; os.kill(os.getpid(), 9)")
    assert found.exit_code == 138
    assert "trying once more" in capsys.readouterr().err


def test_stopping_ends_every_process_at_once(tmp_path):
    made = PreloadedLauncher([])
    flag, raised = tmp_path / "runs", threading.Event()

    def forever():
        cell = f"import pathlib, time\npathlib.Path({str(flag)!r}).touch()\ntime.sleep(600)"
        try:
            run(made, tmp_path, cell)
        except KeyboardInterrupt:
            raised.set()

    thread = threading.Thread(target=forever)
    thread.start()
    limit = time.monotonic() + 120
    while not flag.exists() and time.monotonic() < limit:
        time.sleep(0.1)
    tree = psutil.Process(made._server.pid).children(recursive=True)
    assert len(tree) >= 2
    made.stop()
    thread.join(timeout=30)
    made.close()
    assert raised.is_set()
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in tree)


def test_without_its_server_it_starts_workers_as_usual(tmp_path):
    made = PreloadedLauncher([])
    made._server.kill()
    made._server.wait()
    found, log = run(made, tmp_path, "import os; print(os.getppid())")
    made.close()
    assert found.exit_code == 0, log
