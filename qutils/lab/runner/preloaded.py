"""Starting workers by forking a process that has imported what their notebooks import."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from qutils.files import ROOT
from qutils.lab.runner import forkserver
from qutils.lab.runner.launch import Launcher, Worker, stop_tree
from qutils.lab.runner.parameters import read_notebook


@contextmanager
def launcher_for(notebooks: Sequence[Path]) -> Iterator[Launcher]:
    """Yield what starts the workers of these notebooks: forked where that pays, else as usual.

    It pays on Linux, from two notebooks on. At the end, or on an error, every worker has ended.
    """
    launcher: Launcher = Launcher()
    if sys.platform == "linux" and len(notebooks) > 1:
        launcher = PreloadedLauncher(common_imports(notebooks))
    try:
        yield launcher
    finally:
        launcher.stop()
        launcher.close()


class PreloadedLauncher(Launcher):
    """Fork workers off a server (see ``forkserver``); start them as usual once it is gone."""

    def __init__(self, statements: Sequence[str]) -> None:
        super().__init__()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", forkserver.__name__, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(list(statements)).encode() + b"\n")
        self._server.stdin.close()

    def spawn(self, environment: Mapping[str, str]) -> Worker:
        """Fork a worker; returns when the server has imported everything."""
        with suppress(OSError):
            return ForkedWorker(self._control, environment)
        self.check()
        return super().spawn(environment)

    def stop(self) -> None:
        """Stop every worker, and the server, for which a worker may be waiting."""
        super().stop()
        self._server.kill()

    def close(self) -> None:
        """End the server."""
        self._control.close()
        self._server.wait()


class ForkedWorker:
    """A worker that is a child of the server.

    Raises:
        OSError: the server is gone.
    """

    def __init__(self, control: socket.socket, environment: Mapping[str, str]) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_report, theirs_report = os.pipe()
        self.stdin: IO[bytes] | None = open(ours_in, "wb")  # noqa: SIM115
        self.stdout: IO[bytes] | None = open(ours_out, "rb")  # noqa: SIM115
        self._report: IO[bytes] = open(ours_report, "rb")  # noqa: SIM115
        theirs = [theirs_in, theirs_out, theirs_report]
        try:
            socket.send_fds(control, [forkserver.REQUEST], theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        line = self._report.readline()
        if not line:
            raise ConnectionError("The process that forks workers has ended.")
        self.pid = int(line)
        self._code: int | None = None
        self.stdin.write(json.dumps(dict(environment)).encode() + b"\n")

    def wait(self) -> int:
        """Wait until it has ended; return its exit code, negative if a signal ended it."""
        if self._code is None:
            line = self._report.readline()
            if not line:  # the server was killed
                stop_tree(self.pid)
            self._code = int(line or -signal.SIGKILL)
        return self._code


def common_imports(notebooks: Sequence[Path]) -> list[str]:
    """Return the import statements, one name each, that several of the notebooks have."""
    found = Counter(name for path in notebooks for name in set(_imports(path)))
    return [statement for statement, count in found.items() if count > 1]


def _imports(notebook: Path) -> Iterator[str]:
    for cell in read_notebook(notebook).cells:
        if cell.cell_type != "code" or "import" not in cell.source:
            continue
        with suppress(SyntaxError):  # a magic, say
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import):
                    yield from (f"import {alias.name}" for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    yield from (f"from {node.module} import {alias.name}" for alias in node.names)


def _environment() -> dict[str, str]:
    """The environment of the server: the user's, without what makes libraries start threads."""
    given = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as in any kernel
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if (ROOT / "pyproject.toml").is_file():
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        given["PYTHONPATH"] = os.pathsep.join(paths)
    return given
