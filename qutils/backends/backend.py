"""The record of one backend: everything that is known of it is here or derived from here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qutils.backends.shared.gpu import lacking_gpu
from qutils.backends.shared.runtime import Runtime, require
from qutils.errors import MissingPackageError, UnsupportedError, not_installed

if TYPE_CHECKING:
    from qutils.graph.targets import Target
    from qutils.quantize.simulate import SimulatedModel


@dataclass(frozen=True)
class Backend:
    """How files are written for a runtime, what runs them, what it needs and how it is shown.

    ``exporter``, ``runtime`` and ``rules`` name what is imported when it is used,
    ``package.module:attribute``: a function that writes a simulated model to a path, a class of
    ``Runtime``, and a function that returns the breaches of a quantized file. The integer kernels
    are ``TARGET`` of ``kernels.py`` in the backend's folder, which has the backend's name.
    """

    name: str
    label: str  # in tables
    suffix: str  # of the files that are written
    exporter: str
    runtime: str
    package: str  # what is imported
    extra: str = ""  # of pyproject.toml
    command: str = ""  # that installs what runs the files, if no extra does
    programs: tuple[str, ...] = ()  # one of which has to be on PATH
    gpu: bool = False  # whether it needs one of NVIDIA's
    also_reads: tuple[str, ...] = ()  # suffixes of other files that the runtime opens
    rules: str = ""  # what the runtime asks of files
    hints: tuple[str, ...] = ()  # how to use a file elsewhere; ``{path}`` stands for it
    color: str = "#D55E00"
    marker: str = "*"  # of matplotlib
    rank: int = 1000  # place in lists

    @property
    def target(self) -> Target:
        """The integer kernels; imports torch."""
        found: Target = import_module(f"{__package__}.{self.name}.kernels").TARGET
        return found

    @property
    def install(self) -> str:
        """The command that installs what runs the files."""
        where = " on a machine with an NVIDIA GPU" if self.gpu else ""
        return f"{self.install_extra}{where}" if self.extra else self.command

    @property
    def install_extra(self) -> str:
        """The command that installs the extra."""
        return f"pip install -e '.[{self.extra}]'"

    @property
    def installed(self) -> bool:
        """Whether it can run here: its package, its program and its GPU, if it needs them.

        Nothing is imported for it.
        """
        try:
            self.require_installed()
        except MissingPackageError:
            return False
        return not self.lacking

    @property
    def lacking(self) -> str:
        """The hardware that it needs and this machine has not, in words; empty if nothing."""
        why = lacking_gpu() if self.gpu else ""
        return f"{self.name} needs an NVIDIA GPU: none found, {why}" if why else ""

    def require_installed(self) -> None:
        """Raise MissingPackageError unless package and program are here; imports nothing."""
        if find_spec(self.package) is None:
            raise not_installed(self.package, self.install)
        if self.programs and not any(map(shutil.which, self.programs)):
            raise MissingPackageError(
                f"{self.name} needs one of the programs {', '.join(self.programs)}: install one "
                f"(apt-get install {self.programs[0]})"
            )

    def get(self) -> type[Runtime]:
        """Return the runtime's class.

        Raises:
            UnsupportedError: it needs a GPU that this machine has not.
            MissingPackageError: its package is not installed; names the command.
        """
        if self.lacking:
            raise UnsupportedError(self.lacking)
        require(self.package, self.install)
        module, _, attribute = self.runtime.partition(":")
        found: type[Runtime] = getattr(require(module, self.install), attribute)
        return found

    def write(self, sim: SimulatedModel, path: Path) -> Path:
        """Write a simulated model; returns the path written.

        Raises: as ``qutils.export``.
        """
        exporter: Callable[[SimulatedModel, Path], Path] = late(self.exporter)
        return exporter(sim, path)


def late(reference: str) -> Any:
    """Return what ``package.module:attribute`` names, imported now.

    >>> late("math:pi") > 3
    True
    """
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
