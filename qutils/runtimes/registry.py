"""The list of runtimes; each is imported only when it is asked for."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from qutils.backends.shared.gpu import lacking_gpu
from qutils.backends.shared.runtime import Runtime, require
from qutils.errors import (
    InvalidInputError,
    MissingPackageError,
    UnsupportedError,
    not_installed,
    unknown_name,
)
from qutils.export import SUFFIXES


@dataclass(frozen=True)
class RuntimeEntry:
    """Where a runtime lives and what it needs."""

    name: str
    module: str
    attribute: str
    package: str
    install: str  # command
    suffix: str  # of the files it reads
    programs: tuple[str, ...] = ()  # one of which has to be on PATH
    gpu: bool = False  # whether it needs one of NVIDIA's

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
        """The runtime's class.

        Raises:
            UnsupportedError: it needs a GPU that this machine has not.
            MissingPackageError: its package is not installed; names the command.
        """
        if self.lacking:
            raise UnsupportedError(self.lacking)
        require(self.package, self.install)
        runtime: type[Runtime] = getattr(require(self.module, self.install), self.attribute)
        return runtime


_ENTRIES = (
    RuntimeEntry(
        name="onnxruntime",
        module="qutils.backends.onnxruntime.runtime",
        attribute="OnnxRuntime",
        package="onnxruntime",
        install="pip install onnxruntime onnx",
        suffix=SUFFIXES["onnxruntime"],
    ),
    RuntimeEntry(
        name="openvino",
        module="qutils.backends.openvino.runtime",
        attribute="OpenVino",
        package="openvino",
        install="pip install -e '.[openvino]'",
        suffix=SUFFIXES["openvino"],
    ),
    RuntimeEntry(
        name="tensorrt",
        module="qutils.backends.tensorrt.runtime",
        attribute="TensorRt",
        package="tensorrt_rtx",
        install="pip install -e '.[tensorrt]' on a machine with an NVIDIA GPU",
        suffix=SUFFIXES[
            "tensorrt"
        ],  # an engine belongs to a kind of GPU: it is built where it runs
        gpu=True,
    ),
    RuntimeEntry(
        name="litert",
        module="qutils.backends.litert.runtime",
        attribute="LiteRT",
        package="ai_edge_litert",
        install="pip install -e '.[litert]'",
        suffix=SUFFIXES["litert"],
    ),
    RuntimeEntry(
        name="executorch",
        module="qutils.backends.executorch.runtime",
        attribute="ExecuTorch",
        package="executorch",
        install="pip install -e '.[executorch]'",
        suffix=SUFFIXES["executorch"],
    ),
    RuntimeEntry(
        name="inductor",
        module="qutils.backends.inductor.runtime",
        attribute="Inductor",
        package="torch",
        install="apt install g++",
        suffix=SUFFIXES["inductor"],
        programs=("g++", "clang++"),
    ),
)

#: Every runtime by name; CLI choices and test parametrization read it.
RUNTIMES = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def check_ending(path: str | Path, runtime: str) -> None:
    """Raise InvalidInputError for a file whose ending is that of other runtimes' files."""
    suffix = Path(path).suffix
    others = [name for name, entry in RUNTIMES.items() if entry.suffix == suffix]
    if others and runtime not in others:
        raise InvalidInputError(
            f"{path} is a file for {' or '.join(others)}, not for {runtime}: "
            f"runtimes.load(path, {others[0]!r})"
        )


def load(
    path: str | Path, runtime: str = "onnxruntime", threads: int = 1, exact: bool = True
) -> Runtime:
    """Load a model file into a runtime by name.

    Raises:
        InvalidInputError: no such runtime, which suggests the closest name, or a file for another.
        MissingPackageError: the runtime's package is not installed.
        DataError: the file is missing, truncated or corrupt.
        UnsupportedError: the runtime cannot run this model, or not on this machine.
    """
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    check_ending(path, runtime)
    return RUNTIMES[runtime].get().load(path, threads=threads, exact=exact)
