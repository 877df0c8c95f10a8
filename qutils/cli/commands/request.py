"""What ``qutils quantize`` is asked for, and what can be refused before anything is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qutils.backends import targets_of
from qutils.backends.runtimes import RUNTIMES
from qutils.cli.commands.foreign import foreign
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.lab.runner.staging import probe_write
from qutils.numerics.schemes import Granularity, Recipe, Scheme

#: An open axis as the command line names it.
_AXIS = re.compile(r"(?P<input>.+):(?P<axis>\d+)=(?P<name>[^\W\d]\w*)")
#: What ``--dynamic`` calls the first axis of an input that holds no samples.
_NO_BATCH = "none"


@dataclass(frozen=True)
class Request:
    """What the user asks for; see ``qutils quantize --help``."""

    model: str
    out: Path | None = None
    save: Path | None = None
    weights: Path | None = None
    data: str | None = None
    pictures: int = 512
    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: str | None = None
    outputs: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    fix: tuple[str, ...] = ()
    weight_bits: int = 8
    activation_bits: int = 8
    observer: str = "minmax"
    method: str = "ptq"
    granularity: Granularity = "per_channel"
    group_size: int | None = None
    symmetric: bool | None = None
    saturation_safe: bool | None = None
    target: str = "onnxruntime"
    strict: bool = False
    simulate_only: bool = False
    qat_epochs: float = 0.0
    seed: int | None = None
    threads: int = 1

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Request:
        """What the command line gave: a target that is not named is the first that reads ``out``.

        >>> Request.of({"model": "resnet8", "out": Path("net.tflite"), "target": None}).target
        'litert'
        """
        readers = targets_of(given["out"] or "")
        return cls(**{**given, "target": given["target"] or next(iter(readers), cls.target)})

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str | None]] | None:
        """Names of open axes by input and place; None if none are named.

        >>> Request("net.py:Net", dynamic=("ids:1=sequence", "ids:0=batch")).dynamic_axes
        {'ids': {1: 'sequence', 0: 'batch'}}
        >>> Request("net.py:Net", dynamic=("state:0=none",)).dynamic_axes
        {'state': {0: None}}

        Raises:
            InvalidInputError: not ``INPUT:AXIS=NAME``.
        """
        found: dict[str, dict[int, str | None]] = {}
        for word in self.dynamic:
            match = _AXIS.fullmatch(word)
            if match is None:
                raise InvalidInputError(
                    f"Expected --dynamic INPUT:AXIS=NAME, got {word!r}. Name the input, count its "
                    "axes from 0, as in ids:1=sequence."
                )
            name = None if match["name"] == _NO_BATCH else match["name"]
            found.setdefault(match["input"], {})[int(match["axis"])] = name
        return found or None

    @property
    def fixed(self) -> dict[str, float]:
        """Numbers that take the place of inputs.

        >>> Request("net.onnx", fix=("sampling_rate=16000",)).fixed
        {'sampling_rate': 16000.0}

        Raises:
            InvalidInputError: not ``INPUT=NUMBER``.
        """
        found: dict[str, float] = {}
        for word in self.fix:
            name, _, number = word.rpartition("=")
            if name in found:
                raise InvalidInputError(f"--fix gives {name!r} two numbers. Give it one.")
            try:
                found[name] = float(number)
            except ValueError:
                name = ""
            if not name:
                raise InvalidInputError(
                    f"Expected --fix INPUT=NUMBER, got {word!r}. Name the input and its number, as "
                    "in sampling_rate=16000."
                )
        return found

    @property
    def recipe(self) -> Recipe:
        """The quantization recipe; the input keeps 8 bits."""
        common: dict[str, Any] = {"symmetric": self.symmetric, "observer": self.observer}
        weights = Scheme(
            self.weight_bits, granularity=self.granularity, group_size=self.group_size, **common
        )
        safe: bool | Literal["auto"] = "auto"
        if self.saturation_safe is not None:
            safe = self.saturation_safe
        return Recipe(weights, Scheme(self.activation_bits, **common), saturation_safe=safe)

    @property
    def without_kernels(self) -> str:
        """Why the target cannot run the recipe in integers; empty if it can."""
        from qutils.graph import target

        try:
            target(self.target).require_kernels(self.recipe)
        except UnsupportedError as error:
            return str(error)
        return ""

    def check(self) -> None:
        """Refuse at once what could only fail at the end; no network is read for it.

        Raises:
            InvalidInputError: neither or both of a file and --simulate-only, a setting without
                kernels, a file of another kind.
            MissingPackageError: what writes or runs the file is not installed.
            DataError: a folder cannot be written.
        """
        if self.data is not None and Path(self.data).suffix in (".yaml", ".yml"):
            raise InvalidInputError(
                f"--data is {self.data}, which is the YAML of detection data. Detectors have their "
                f"own command: qutils detector {self.model} {self.out or 'OUT'} --data {self.data}"
            )
        if (error := foreign(self.model)) is not None:
            raise error
        self.dynamic_axes, self.fixed  # noqa: B018  (refuse what is neither axis nor number)
        if self.simulate_only and self.out is not None:
            raise InvalidInputError(
                f"{self.out} and --simulate-only exclude each other: it writes no file"
            )
        if self.simulate_only == (self.out is not None):
            raise InvalidInputError(
                f"name a file to write ({self._endings}), or give --simulate-only to write none "
                "(not both)"
            )
        if self.out is not None and self.out.suffix != RUNTIMES[self.target].suffix:
            raise InvalidInputError(
                f"{self.out} has an ending that {self.target} does not read: {self._endings}"
            )
        if self.save is not None and self.save.suffix != ".safetensors":
            raise InvalidInputError(
                f"--save writes safetensors: give {self.save} the ending .safetensors"
            )
        for word, path in (("--save", self.save), ("OUT", self.out)):
            if path is not None and path.resolve() in self._read:
                raise InvalidInputError(f"{word} would replace {path}, which is read: name another")
        if self.seed is not None and not self.qat_epochs:
            raise InvalidInputError("--seed is QAT's: it goes with --qat-epochs")
        if (self.granularity == "per_group") != (self.group_size is not None):
            raise InvalidInputError("--group-size goes with --granularity per_group, only with it")
        for file in self._read:
            if not file.exists():
                raise InvalidInputError(f"{file} is missing: correct its path")
        if self.out is not None and self.without_kernels:
            raise InvalidInputError(
                f"{self.without_kernels} To see what this setting costs: leave {self.out} away "
                "and give --simulate-only."
            )
        if self.out is not None and not RUNTIMES[self.target].lacking:
            RUNTIMES[self.target].require_installed()
        for path in (self.out, self.save):
            if path is not None:
                probe_write(path.resolve().parent)

    @property
    def _endings(self) -> str:
        """``.onnx for onnxruntime, openvino or tensorrt; .tflite for litert; ...``."""
        names: dict[str, list[str]] = {}
        for name, entry in RUNTIMES.items():
            names.setdefault(entry.suffix, []).append(name)
        return "; ".join(f"{suffix} for {' or '.join(found)}" for suffix, found in names.items())

    @property
    def _read(self) -> list[Path]:
        """Files that are read, absolute."""
        found = (self.weights, self._model_file, self._data_file, self._classes_file)
        return [path.resolve() for path in found if path is not None]

    @property
    def _classes_file(self) -> Path | None:
        """The file of ``--classes``, unless that is a list of names."""
        if self.classes is None or ("," in self.classes and not Path(self.classes).is_file()):
            return None
        return Path(self.classes)

    @property
    def _model_file(self) -> Path | None:
        if self.model.endswith(".onnx"):
            return Path(self.model)
        path, _, name = self.model.rpartition(":")
        return Path(path) if name and path.endswith(".py") else None

    @property
    def _data_file(self) -> Path | None:
        path = Path(self.data or "")
        return path if path.suffix in (".npz", ".npy") else None
