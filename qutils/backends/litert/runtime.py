"""LiteRT (TensorFlow Lite) on the CPU: ``.tflite`` files, executed by its XNNPACK delegate.

XNNPACK takes over every operator it has a kernel for; the others run in LiteRT's own, built-in
kernels. Both sum exactly in 32 bits on every CPU, so that ``exact`` chooses nothing here. They
round differently: XNNPACK scales the accumulator in float32 and rounds half to even, as the integer
reference does; the built-in kernels multiply by a fixed-point number and round twice. Where XNNPACK
departs from the reference, by one integer here and there, it rounds in fixed point as well: ADD,
LEAKY_RELU, and the QUANTIZE in front of a CONCATENATION.

Files written for LiteRT have an open batch size; the interpreter is resized to the batch that
comes.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ai_edge_litert import __version__ as litert_version
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from qutils.backends.litert.tflite import CHANNELS_LAST, OPERAND
from qutils.backends.shared.named_runtime import Declared, NamedRuntime, refused
from qutils.backends.shared.runtime import Arrays, Axis, Inner, RuntimeOptions
from qutils.errors import DataError, UnsupportedError
from qutils.isolated import check_survives

#: The operator that stands for all those that a delegate took over.
_DELEGATE = "DELEGATE"
#: Opens a file and runs it once, on zeros, as LiteRT does not verify what it reads.
_TRIAL = """
import sys
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
interpreter.invoke()
"""


class LiteRT(NamedRuntime):
    """LiteRT's interpreter with XNNPACK."""

    name: ClassVar[str] = "litert"

    def __init__(self, path: Path, options: RuntimeOptions, interpreter: Interpreter) -> None:
        self.path = path
        self.options = options
        self._interpreter = interpreter
        self._inputs = {one["name"]: one for one in interpreter.get_input_details()}
        self._outputs = {one["name"]: one["index"] for one in interpreter.get_output_details()}

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load a ``.tflite`` file; ``exact`` makes no difference.

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: an operator or interface that this runtime cannot run.
        """
        options = RuntimeOptions(threads, exact)
        interpreter = _open(Path(path), options)
        return cls(Path(path), options, interpreter)

    def computed(self, fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in order, of checked inputs. NaN becomes an integer."""
        try:
            _invoke(self._interpreter, self._by_index(fed))
        except RuntimeError as error:
            raise refused(self.path, fed, str(error)) from error
        return [self._interpreter.get_tensor(index) for index in self._outputs.values()]

    def inner(self, batch: Arrays) -> tuple[Inner, ...]:
        """Quantized activations in order of execution: what each int8 operator gives.

        Each operator is a delegate's part of its own here, so that its result can be read; it
        computes what it computes in ``run``.

        Raises: as ``run``.
        """
        interpreter = self._single
        _invoke(interpreter, self._by_index(self.fed(batch)))
        details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
        made = [details[op["outputs"][0]] for op in _operators(interpreter)]
        return tuple(
            _inner(tensor, interpreter.get_tensor(tensor["index"]))
            for tensor in made
            if tensor["dtype"] == np.int8 and OPERAND not in tensor["name"]
        )

    @cached_property
    def _single(self) -> Interpreter:
        return _open(
            self.path,
            self.options,
            experimental_preserve_all_tensors=True,
            experimental_disable_delegate_node_fusion=True,
        )

    def kernels(self) -> Counter[str]:
        """Operators that execute, with their result's type, and XNNPACK where it computes them.

        ``CONV_2D int8 (XNNPACK)``, ``RELU int8``.
        """
        details = {tensor["index"]: tensor for tensor in self._interpreter.get_tensor_details()}
        delegated = _delegated(self._interpreter)
        return Counter(
            f"{op['op_name']} {np.dtype(details[op['outputs'][0]]['dtype']).name}"
            + " (XNNPACK)" * (op["index"] in delegated)
            for op in _operators(self._interpreter)
        )

    @property
    def version(self) -> str:
        """Version of the ai-edge-litert package."""
        return str(litert_version)

    @property
    def declared(self) -> Mapping[str, Declared]:
        """Axes and type of each input, by name, in order; open axes are None."""
        return {n: (_axes(one), np.dtype(one["dtype"])) for n, one in self._inputs.items()}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(self._outputs)

    def _by_index(self, fed: Mapping[str, NDArray[Any]]) -> dict[int, NDArray[Any]]:
        return {self._inputs[name]["index"]: x for name, x in fed.items()}


def _axes(tensor: dict[str, Any]) -> tuple[Axis, ...]:
    """Declared shape of an input; open axes are None."""
    return tuple(None if size < 0 else int(size) for size in tensor["shape_signature"])


def _invoke(interpreter: Interpreter, fed: dict[int, NDArray[Any]]) -> None:
    """Compute; tensors are allocated anew where a batch has another size than the last one."""
    before = {one["index"]: tuple(one["shape"]) for one in interpreter.get_input_details()}
    changed = {index: x.shape for index, x in fed.items() if before[index] != x.shape}
    for index, shape in changed.items():
        interpreter.resize_tensor_input(index, shape, strict=True)
    if changed:
        interpreter.allocate_tensors()
    for index, x in fed.items():
        interpreter.set_tensor(index, x)
    interpreter.invoke()


def _operators(interpreter: Interpreter) -> list[dict[str, Any]]:
    """The file's own operators in order, without those that stand for delegates."""
    return [op for op in interpreter._get_ops_details() if op["op_name"] != _DELEGATE]


def _delegated(interpreter: Interpreter) -> set[int]:
    """Operators that a delegate took over: all between its outputs and its inputs."""
    made_by = {int(out): op for op in _operators(interpreter) for out in op["outputs"]}
    found: set[int] = set()
    for delegate in interpreter._get_ops_details():
        if delegate["op_name"] != _DELEGATE:
            continue
        given, open_ends = set(map(int, delegate["inputs"])), list(map(int, delegate["outputs"]))
        while open_ends:
            op = made_by.get(tensor := open_ends.pop())
            if op is not None and tensor not in given and op["index"] not in found:
                found.add(op["index"])
                open_ends += map(int, op["inputs"])
    return found


def _inner(tensor: dict[str, Any], integers: NDArray[Any]) -> Inner:
    """An activation in PyTorch's order of axes."""
    if tensor["name"].endswith(CHANNELS_LAST):
        integers = np.moveaxis(integers, -1, 1)
    scale, zero_point = tensor["quantization"]
    return Inner(integers.astype(np.int32), float(scale), int(zero_point))


def _open(path: Path, options: RuntimeOptions, **experimental: bool) -> Interpreter:
    """An interpreter, ready to run; every failure becomes one of our errors."""
    if not path.is_file():
        raise DataError(f"{path} is missing. Export the model first, or correct the path.")
    check_survives(path, _TRIAL)
    try:
        with _silenced(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # preserve_all_tensors "is intended for debugging"
            interpreter = Interpreter(str(path), num_threads=options.threads, **experimental)
            interpreter.allocate_tensors()
    except ValueError as error:
        if "Didn't find op" in str(error):  # of a newer LiteRT, or of somebody's own
            raise _cannot_run(path, error) from error
        raise DataError(
            f"{path} is corrupt or truncated ({path.stat().st_size:,} bytes): "
            f"{str(error).strip()}. Export it again."
        ) from error
    except RuntimeError as error:
        raise _cannot_run(path, error) from error
    return interpreter


def _cannot_run(path: Path, error: Exception) -> UnsupportedError:
    return UnsupportedError(f"LiteRT {litert_version} cannot run {path}: {str(error).strip()}")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Nothing on the standard error: LiteRT tells there that it made its delegate."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
