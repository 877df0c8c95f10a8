"""A process that has imported what notebooks import, and forks a worker for each of them.

``python -m qutils.lab.runner.forkserver FD``: requests come on the socket FD, each with three file
descriptors, the worker's standard input, its standard output, and a pipe on which the server writes
the worker's process id and, when it has ended, its exit code. The first line of the worker's
standard input is its environment, the second its job. The server ends when the socket closes; its
workers notice on their own that their parent is gone.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qutils.interrupt import INTERRUPTED
from qutils.lab.runner import forked_kernel, worker

#: What every worker and every kernel imports.
BASE = ("import papermill", "import ipykernel.kernelapp", "import torch")
REQUEST = b"fork"


def main() -> int:
    """Import, then serve. Every forked worker and kernel also returns from here, and so ends."""
    control = socket.socket(fileno=int(sys.argv[1]))
    statements = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    preload([*BASE, *statements])
    if len(os.listdir("/proc/self/task")) > 1:
        return worker.FAILED  # a fork would lack these threads; workers are started as usual
    gc.freeze()  # pages that no collection touches stay shared
    if not serve(control):
        return worker.OK
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = json.loads(sys.stdin.readline())
    os.environ.clear()
    os.environ.update(environment)
    keep_to_threads()
    seed = forked_kernel.Seed.plant()
    if seed is None:
        forked_kernel.become_kernel()
        return worker.OK
    forked_kernel.use(seed)
    return worker.main()


def preload(statements: Sequence[str]) -> None:
    """Execute import statements; trace and export a small network, which imports a lot as well.

    What cannot be imported is left to the notebook, whose page then shows the error. All runs on
    one thread: threads that computed would be missing in a fork.
    """
    scratch: dict[str, Any] = {}
    for statement in statements:
        with suppress(Exception):
            exec(statement, scratch)
    import torch
    from tqdm import tqdm

    from qutils import zoo
    from qutils.backends.export import export
    from qutils.numerics.schemes import Recipe
    from qutils.quantize.calibration import observe

    torch.set_num_threads(1)
    tqdm.monitor_interval = 0  # no thread that watches progress bars
    with suppress(Exception):
        seen = observe(zoo.load("resnet8"), zoo.dataset("fashion_mnist").calibration.take(1))
        with tempfile.TemporaryDirectory() as folder:
            export(seen.simulate(Recipe()), Path(folder) / "resnet8.onnx")


def keep_to_threads() -> None:
    """Let torch use the threads of this process's environment, not those of the server's."""
    import torch

    from qutils.cores import thread_limit

    torch.set_num_threads(thread_limit())


def serve(control: socket.socket) -> bool:
    """Fork a worker for each request. Returns True in a forked worker, False when all is done."""
    ended, wake = os.pipe()
    for descriptor in (ended, wake):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    reports: dict[int, int] = {}  # process id -> pipe on which its end is reported
    while True:
        ready, _, _ = select.select([control.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report(reports)
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, len(REQUEST), 3)
        if not message:
            return False
        sys.stdout.flush()
        if pid := os.fork():
            reports[pid] = descriptors.pop()
            os.write(reports[pid], f"{pid}\n".encode())
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        _take_over(descriptors, [ended, wake, *reports.values()])
        return True


def _take_over(descriptors: Sequence[int], others: Sequence[int]) -> None:
    """Make a fork a process of its own: its session, its standard streams, nothing else open."""
    os.setsid()
    os.dup2(descriptors[0], 0)
    os.dup2(descriptors[1], 1)
    os.dup2(descriptors[1], 2)
    for descriptor in (*descriptors, *others):
        os.close(descriptor)


def _report(reports: dict[int, int]) -> None:
    """Report the end of every worker that has ended."""
    for pid in list(reports):
        found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            continue
        report = reports.pop(pid)
        with suppress(OSError):  # nobody waits for it any more
            os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(report)


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
