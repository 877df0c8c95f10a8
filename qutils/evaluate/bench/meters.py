"""What can tell energy on this machine: the CPU's counters, a GPU's, or an estimate."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from qutils.graph.quiet import quiet

POWERCAP = Path("/sys/class/powercap")
_MICRO, _MILLI = 1e-6, 1e-3


class NoMeterError(Exception):
    """Why a meter cannot be had here."""


class Meter(Protocol):
    """Energy used so far [J], from any origin; ``source`` and ``detail`` say whose it is."""

    @property
    def source(self) -> str: ...
    @property
    def detail(self) -> str: ...
    def joules(self) -> float: ...


@dataclass
class Rapl:
    """Counters of the CPU packages (Intel and AMD), which count everything that runs on them."""

    domains: tuple[Path, ...]
    source: str = "rapl"
    detail: str = "counter of the whole CPU, whatever runs on it"
    _last: dict[Path, int] = field(default_factory=dict)
    _joules: float = 0.0

    @classmethod
    def find(cls, root: Path | None = None) -> Rapl:
        """The packages under ``/sys/class/powercap``.

        Raises:
            NoMeterError: there are none, or they may not be read.
        """
        root = root or POWERCAP
        found = sorted(root.glob("intel-rapl:*")) if root.is_dir() else []
        packages = tuple(p for p in found if p.name.count(":") == 1)
        if not packages:
            raise NoMeterError(f"no RAPL counter in {root}, as in most virtual machines")
        meter = cls(packages)
        try:
            meter.joules()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise NoMeterError(
                f"the RAPL counter may not be read ({reason}): run as root"
            ) from error
        return meter

    def joules(self) -> float:
        for domain in self.domains:
            now = int((domain / "energy_uj").read_text())
            before = self._last.get(domain, now)
            if now < before:  # the counter began anew
                before -= int((domain / "max_energy_range_uj").read_text()) + 1
            self._joules += (now - before) * _MICRO
            self._last[domain] = now
        return self._joules


@dataclass
class Nvml:
    """Counter of an NVIDIA GPU (Volta and newer), which counts everything that runs on it."""

    library: Any
    handle: Any
    source: str = "nvml"
    detail: str = "counter of the whole GPU, whatever runs on it"

    @classmethod
    def find(cls, index: int = 0) -> Nvml:
        """The GPU of that number.

        Raises:
            NoMeterError: no package, driver, GPU or counter.
        """
        if find_spec("pynvml") is None:
            raise NoMeterError("pynvml is not installed: pip install -e '.[energy]'")
        with quiet():
            library = import_module("pynvml")
        try:
            library.nvmlInit()
            meter = cls(library, library.nvmlDeviceGetHandleByIndex(index))
            meter.joules()
        except library.NVMLError as error:
            raise NoMeterError(f"no GPU counter ({error})") from error
        return meter

    def joules(self) -> float:
        return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) * _MILLI


@dataclass
class Estimate:
    """``TDP / CPU threads x CPU time of this process``: no counter, an assumption on power."""

    watts: float  # of the whole CPU
    cpus: int
    cpu: str
    source: str = "estimated"

    @classmethod
    def find(cls) -> Estimate:
        """Power as codecarbon knows or assumes it for this CPU; nothing is looked up online.

        Raises:
            NoMeterError: codecarbon is not installed, or assumes nothing.
        """
        if find_spec("codecarbon") is None:
            raise NoMeterError(
                "codecarbon, which knows the power of CPUs, is not installed: "
                "pip install -e '.[energy]'"
            )
        with quiet():
            found = import_module("codecarbon.core.cpu").TDP()
        if not found.tdp:
            raise NoMeterError(f"codecarbon knows no power of {found.model}")
        return cls(float(found.tdp), os.cpu_count() or 1, str(found.model))

    @property
    def detail(self) -> str:
        """The assumption in words."""
        return (
            f"{self.watts:g} W (codecarbon's figure for {self.cpu!r}, 4 W a thread where it knows "
            f"none) / {self.cpus} CPU threads x CPU time of this process; no measurement"
        )

    def joules(self) -> float:
        return self.watts / self.cpus * time.process_time()
