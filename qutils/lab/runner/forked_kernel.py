"""A kernel forked off its worker: what the worker has imported need not be imported again.

A fork copies only the thread that calls it. The worker therefore forks a *seed* before it starts
any thread, and the seed becomes the kernel as soon as Jupyter asks for one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

NAME = "qutils-forked"


class Seed:
    """A child process that waits to become a kernel, with the interface of ``subprocess.Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, order: int) -> None:
        self.pid, self._order = pid, order
        self.returncode: int | None = None

    @classmethod
    def plant(cls) -> Seed | None:
        """Fork the seed. Returns None in the seed itself, once it is to become a kernel.

        In the seed, arguments and environment are then those of the kernel. A seed that is not
        needed ends when its worker does.
        """
        receive, send = os.pipe()
        if pid := os.fork():
            os.close(receive)
            return cls(pid, send)
        os.close(send)
        os.setsid()
        with open(receive, encoding="utf-8") as pipe:
            text = pipe.read()
        if not text:
            os._exit(0)
        order = json.loads(text)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = order["arguments"]
        return None

    def grow(self, command: list[str], env: dict[str, str], cwd: str) -> None:
        """Let the seed become the kernel of ``command``: ``python -m ipykernel_launcher ...``."""
        parent = f"--IPKernelApp.parent_handle={os.getpid()}"  # it ends when its worker has ended
        order = {"arguments": [*command[2:], parent], "env": env, "cwd": str(cwd)}
        with open(self._order, "w", encoding="utf-8") as pipe:
            pipe.write(json.dumps(order))

    def poll(self) -> int | None:
        """Exit code of the kernel, negative if a signal ended it; None while it runs."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for the end of the kernel; return its exit code."""
        return self._waited(0)

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

    def _waited(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


class ForkedProvisioner(LocalProvisioner):
    """Turn the worker's seed into the kernel; a second kernel is started as usual."""

    seed: ClassVar[Seed | None] = None
    process: Any

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Launch the kernel of ``cmd``."""
        seed, ForkedProvisioner.seed = ForkedProvisioner.seed, None
        if seed is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.cwd = kwargs.get("cwd") or Path.cwd()
        seed.grow(cmd, dict(kwargs.get("env") or os.environ), str(self.cwd))
        self.process, self.pid, self.pgid = seed, seed.pid, seed.pid
        return self.connection_info


def use(seed: Seed) -> None:
    """Have every kernel of this process provisioned by its seed."""
    ForkedProvisioner.seed = seed
    value = f"{__name__}:{ForkedProvisioner.__name__}"
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, value, "jupyter_client.kernel_provisioners")
    factory.default_provisioner_name = NAME


def become_kernel() -> None:
    """Run as the kernel that ``sys.argv`` describes, until it is shut down."""
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
