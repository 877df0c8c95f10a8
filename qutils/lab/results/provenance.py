"""Which code on which machine produced a result, so that a figure can be judged and repeated."""

from __future__ import annotations

import math
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qutils.cores import core_count, thread_limit
from qutils.errors import InvalidInputError
from qutils.files import ROOT
from qutils.reading import typed

PACKAGES = (
    "quantization-lab",
    "torch",
    "torchao",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "ai-edge-litert",
    "executorch",
    "papermill",
    "matplotlib",
)
#: Folders in which a file that git does not know can change a result.
_WATCHED = ("qutils", "notebooks", "data")
#: Flag of the operating system -> our name; those that integer kernels are written for.
ISA_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx_int8": "amx_int8",
    "asimddp": "neon_dotprod",
    "i8mm": "neon_i8mm",
    "sve": "sve",
    "hw.optional.arm.FEAT_DotProd: 1": "neon_dotprod",
    "hw.optional.arm.FEAT_I8MM: 1": "neon_i8mm",
}


@dataclass(frozen=True)
class Provenance:
    """Code, machine and settings of one run; ``started`` is UTC, ISO 8601, ``seconds`` wall clock.

    ``dirty`` says that tracked files outside ``reports/`` differ from ``commit``, or that files of
    code, notebooks or data are in no commit. ``device`` is what torch trains on: ``cpu``, or the
    name of the GPU; None in results of earlier versions, and where torch was not at work.
    """

    commit: str | None
    dirty: bool | None
    packages: Mapping[str, str]
    cpu: str
    isa: tuple[str, ...]
    cores: int
    threads: int
    started: str
    seconds: float
    parameters: Mapping[str, object]
    profile: str | None
    python: str
    platform: str
    device: str | None = None

    def to_json(self) -> dict[str, object]:
        """The mapping that stands in ``results.json``."""
        plain = asdict(self)
        return {**plain, "isa": list(self.isa), "parameters": json_safe(self.parameters)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Provenance:
        """The provenance that a mapping denotes.

        Raises:
            InvalidInputError: a key is missing, or time and duration are of no use.
        """
        if not isinstance(plain, Mapping):
            raise InvalidInputError("provenance is missing")
        missing = [f.name for f in fields(cls) if f.name not in plain and f.name != "device"]
        if missing:
            raise InvalidInputError(f"provenance without {', '.join(missing)}")
        known: dict[str, Any] = {f.name: plain.get(f.name) for f in fields(cls)}
        try:
            datetime.fromisoformat(known["started"])
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"started is {known['started']!r}, not ISO 8601") from error
        try:
            found: Provenance = typed(cls, known)
            return found
        except ValueError as error:
            raise InvalidInputError(str(error)) from error


def now() -> str:
    """Time in UTC as ISO 8601, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def collect(
    parameters: Mapping[str, object], started: str | None = None, seconds: float | None = None
) -> Provenance:
    """Provenance of this process; without ``started`` and ``seconds``, since it began."""
    age = time.time() - _process_start()
    began = datetime.fromtimestamp(time.time() - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    commit, dirty = git_state(ROOT)
    profile = parameters.get("profile")
    return Provenance(
        commit=commit,
        dirty=dirty,
        packages=package_versions(),
        cpu=cpu_model(),
        isa=isa_flags(),
        cores=core_count(),
        threads=thread_count(),
        started=started or began,
        seconds=round(age if seconds is None else seconds, 1),
        parameters=dict(parameters),
        profile=profile if isinstance(profile, str) else None,
        python=platform.python_version(),
        platform=platform.platform(),
        device=device(),
    )


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit, and whether code, notebooks or data differ from it; ``(None, None)`` without git.

    Of files that git does not know, those of a reader beside the code do not count.
    """
    commit = _output("git", "-C", str(root), "rev-parse", "--verify", "HEAD")
    if not commit or not (root / ".git").exists():
        return None, None
    git = ("git", "-C", str(root))
    tracked = (*git, "status", "--porcelain", "--untracked-files=no", "--", ".")
    changed = _output(*tracked, ":(exclude)reports")
    new = _output(*git, "ls-files", "--others", "--exclude-standard", "--", *_WATCHED)
    return commit, changed is None or new is None or bool(changed or new)


def package_versions() -> dict[str, str]:
    """Version of each installed package that bears on the figures."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def _cpu_info() -> str:
    if sys.platform == "darwin":
        return _output("sysctl", "machdep.cpu.brand_string", "hw.optional.arm") or ""
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def cpu_model() -> str:
    """Name of the processor as the operating system tells it."""
    for line in _cpu_info().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "machdep.cpu.brand_string"):
            return value.strip()
    return platform.processor() or platform.machine()


def isa_flags() -> tuple[str, ...]:
    """Instruction sets of this processor that integer kernels use, sorted."""
    text = _cpu_info()
    words = {*text.split(), *text.splitlines()}
    return tuple(sorted({ours for theirs, ours in ISA_FLAGS.items() if theirs in words}))


def thread_count() -> int:
    """Threads that torch uses in this process, or would."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return thread_limit()


def device() -> str | None:
    """Where torch trains in this process; None if it was not imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def json_safe(value: Any) -> Any:
    """The same value with NaN and infinities as text, which JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value


def _process_start() -> float:
    import psutil  # only to date interactive runs

    return float(psutil.Process().create_time())


def _output(*command: str) -> str | None:
    """Standard output of a command, or ``None`` if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
