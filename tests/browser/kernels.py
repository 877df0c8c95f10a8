"""Kernels of JupyterLab forked off a process that has imported what the notebooks import.

A kernel imports for eight seconds (CPU) before a notebook has drawn its first explorer, and the
tests open a dozen notebooks. With ``SETTINGS``, JupyterLab starts one process that imports for all
of them, ``python -m tests.browser.kernels FD``, and has it fork each kernel. Arguments, environment
and folder are those that Jupyter gives any kernel. Voila starts its kernel as usual.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import psutil
import zmq
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from qutils.files import ROOT
from qutils.lab.runner import forked_kernel, forkserver
from qutils.lab.runner.preloaded import ForkedWorker

#: Content of ``jupyter_server_config.py`` for a JupyterLab whose kernels are forked.
SETTINGS = "from tests.browser import kernels\n\nkernels.use()\n"
NAME = "tests-forked"
#: The notebook in which what is painted ahead and what is moved have to get along.
AHEAD = "02_observers.ipynb"
MODULE = "tests.browser.kernels"
#: Imported beforehand, and what the first picture of an explorer imports.
STATEMENTS = (
    *forkserver.BASE,
    "from tqdm import tqdm; tqdm.monitor_interval = 0",  # no thread, which a fork would lack
    "import anywidget, pandas, matplotlib.pyplot",
    "import qutils.evaluate.bench, qutils.backends.runtimes, qutils.lab.explorers.registry",
    "from qutils.lab.explorers.affine import AffineExplorer as A",
    "a = A(); a.picture(a.view(bits=4))",
    "from matplotlib.font_manager import _get_font; _get_font.cache_clear()",  # open files
)


class ForkedKernel(ForkedWorker):
    """A forked process that becomes a kernel, with the interface of ``subprocess.Popen``."""

    def __init__(self, control: socket.socket, command: list[str], env: Any, cwd: str) -> None:
        super().__init__(control, env)
        assert self.stdin is not None
        arguments = command[command.index("ipykernel_launcher") :]
        order = {"arguments": arguments, "cwd": cwd}
        self.stdin.write(json.dumps(order).encode() + b"\n")
        self.stdin.flush()

    @property
    def stderr(self) -> None:
        """Goes where standard output goes."""

    def poll(self) -> int | None:
        """Exit code of the kernel, negative if a signal ended it; None while it runs."""
        ended, _, _ = select.select([self._report], [], [], 0)
        return self.wait() if ended or self._code is not None else None

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the kernel at once."""
        self.send_signal(signal.SIGKILL)


class ForkedProvisioner(LocalProvisioner):
    """Have the kernel forked."""

    control: ClassVar[socket.socket]
    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch the kernel of ``cmd``, once the process that forks it has imported."""
        self.cwd = str(kwargs.get("cwd") or Path.cwd())
        env = dict(kwargs.get("env") or os.environ)
        self.process = await asyncio.to_thread(ForkedKernel, self.control, cmd, env, self.cwd)
        self.pid = self.pgid = self.process.pid
        return self.connection_info


def use() -> None:
    """Have every kernel of this process, a Jupyter server, forked off one that imports now."""
    factory = KernelProvisionerFactory.instance()
    if NAME in factory.provisioners:  # settings may be read twice
        return
    ForkedProvisioner.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", MODULE, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"},
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
    value = f"{MODULE}:{ForkedProvisioner.__name__}"
    factory.provisioners[NAME] = EntryPoint(NAME, value, "jupyter_client.kernel_provisioners")
    factory.default_provisioner_name = NAME


def forked(server: int) -> list[psutil.Process]:
    """Kernels that were forked for the Jupyter server with this process id."""
    forking = [child for child in psutil.Process(server).children() if MODULE in child.cmdline()]
    return [kernel for process in forking for kernel in process.children()]


def paint_ahead_in(notebook: str) -> None:
    """Have no kernel but that of one notebook paint ahead while nothing moves.

    With tests, which think about each answer, that is much of what kernels compute.
    """
    from qutils.lab.explorers import ahead

    if Path(os.environ.get("JPY_SESSION_NAME", "")).name != notebook:
        ahead.PAUSE = 3600.0


def look_after_each_reply() -> None:
    """Have this process's kernel look for requests that came while it sent a reply.

    ipykernel 7.2 overlooks them until the next one comes (ipython/ipykernel issue 1554), which
    happens when all cells are sent at once to a kernel that need not import anything.
    """
    from ipykernel.kernelapp import IPKernelApp
    from ipykernel.subshell_manager import SubshellManager

    send = SubshellManager._send_on_shell_channel

    def reply(manager: SubshellManager, message: Any) -> None:
        send(manager, message)
        requests = IPKernelApp.instance().kernel.shell_stream
        requests.io_loop.add_callback(requests.flush, zmq.POLLIN)

    SubshellManager._send_on_shell_channel = reply


def main() -> None:
    """Import, then fork a kernel for each request. Every forked kernel also returns from here."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server that started us ends us
    forkserver.preload(STATEMENTS)
    if len(threads := os.listdir("/proc/self/task")) > 1:
        sys.exit(f"{len(threads) - 1} threads run that no fork would have")
    gc.freeze()
    if not forkserver.serve(control):
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(json.loads(sys.stdin.readline()))
    order = json.loads(sys.stdin.readline())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nowhere, descriptor)
    os.chdir(order["cwd"])
    sys.argv = [*order["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}"]
    forkserver.keep_to_threads()
    paint_ahead_in(AHEAD)
    with suppress(ImportError, AttributeError):  # of another version, which may do without
        look_after_each_reply()
    forked_kernel.become_kernel()


if __name__ == "__main__":
    main()
