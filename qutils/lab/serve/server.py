"""A notebook server as long as a block lasts: started, waited for, and ended with its kernels."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import psutil

from qutils.errors import InvalidInputError, QutilsError
from qutils.lab.runner.process import stop_tree
from qutils.lab.serve.commands import LOOPBACK, address, app_command, environment, lab_command

Kind = Literal["lab", "app"]
START_TIMEOUT = 90.0  # seconds; the first import of a server on a busy machine takes many
_PAUSE = 0.1  # seconds between two looks
#: Whatever proxy the user has set: the token goes to this machine alone.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Served:
    """A server that answers: ``kind`` is ``lab`` or ``app``."""

    kind: Kind
    port: int
    token: str
    process: subprocess.Popen[bytes]

    def url(self, notebook: str = "") -> str:
        """Address of a notebook of JupyterLab (in a workspace of its own), or of the app."""
        if self.kind == "app":
            return address(self.port, self.token)
        return address(self.port, self.token, f"/lab/tree/{notebook}", {"reset": ""})

    def kernels(self) -> list[psutil.Process]:
        """Processes of the notebooks' kernels."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "ipykernel_launcher" in " ".join(_words(child))]

    def listens(self, notebook: str) -> bool:
        """Whether JupyterLab's kernel of a notebook is idle and connected to a page."""
        sessions = json.loads(self._ask(f"http://{LOOPBACK}:{self.port}/api/sessions"))
        kernels = [session["kernel"] for session in sessions if session["path"] == notebook]
        return any(k["execution_state"] == "idle" and k["connections"] for k in kernels)

    def stop_kernels(self) -> None:
        """End the kernels of JupyterLab, which would otherwise live until the server ends.

        Returns when the server knows of none any more: a page that opens a notebook then would get
        a session whose kernel is about to end.
        """
        base = f"http://{LOOPBACK}:{self.port}/api"
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            known = [(kind, item["id"]) for kind in ("sessions", "kernels")
                     for item in json.loads(self._ask(f"{base}/{kind}"))]  # fmt: skip
            if not known:
                return
            for kind, name in known:
                with suppress(urllib.error.HTTPError):  # ended with its session, or restarting
                    self._ask(f"{base}/{kind}/{name}", "DELETE")

    def _ask(self, url: str, method: str = "GET") -> bytes:
        head = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(url, headers=head, method=method)
        with _DIRECT.open(request, timeout=START_TIMEOUT) as answer:
            return bytes(answer.read())


@contextmanager
def serving(
    kind: Kind, notebook: Path, *, port: int | None = None, extra: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Serve ``notebook``; the block is entered when the server answers.

    ``port`` is a free one unless given; ``extra`` adds to the environment.

    Raises:
        InvalidInputError: there is no such notebook, or something listens on the port already.
        MissingPackageError: the extra ``lab`` is not installed.
        QutilsError: the server ended, or did not answer in time; its last lines are shown.
    """
    port = free_port() if port is None else _checked_free(port)
    token = secrets.token_urlsafe(24)
    if kind == "app":
        command = app_command(notebook, port)
    else:
        command = [*lab_command(notebook), "--no-browser", f"--ServerApp.port={port}"]
        command.append("--ServerApp.port_retries=0")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment(token), **(extra or {})},
            start_new_session=True,  # Ctrl-C reaches us alone; we end it in order
        )
        try:
            _wait(process, port, log)
            yield Served(kind, port, token, process)
        finally:
            stop_tree(process.pid)
            process.wait()


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _checked_free(port: int) -> int:
    """``port``, which must be free: else what listens there would be taken for our server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one just left is free
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise InvalidInputError(
                f"port {port} of {LOOPBACK} cannot be used ({error.strerror}): name another, or "
                "leave it away"
            ) from error
    return port


def _wait(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    limit = time.monotonic() + START_TIMEOUT
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise QutilsError(f"the server ended at its start:\n{_tail(log)}")
        try:
            _DIRECT.open(f"http://{LOOPBACK}:{port}/login", timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(_PAUSE)
        else:
            return
    raise QutilsError(f"the server did not answer within {START_TIMEOUT:.0f} s:\n{_tail(log)}")


def _tail(log: IO[bytes], lines: int = 15) -> str:
    log.seek(0)
    return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
