"""PyTorch Inductor on x86: ``.pt2`` files, compiled here to C++ and oneDNN's int8 kernels.

Compiling takes seconds and a C++ compiler, once for each size of batch (larger ones are computed in
parts of ``PART``). With the batch left open PyTorch 2.13 takes channels-last results for plain ones
where the input has one channel, and stops.

Convolutions and linear layers run in oneDNN, which scales the sum and adds the bias in float, then
rounds half to even; the rest is generated C++ that reads 8-bit integers, computes in float and
writes 8-bit integers. CPUs without VNNI add pairs of products in 16 bits and saturate, unless the
weights cannot overflow (``Recipe.saturation_safe``, the default for this target): loading a file
with others warns there, unless ``exact=False``.
"""

from __future__ import annotations

import logging
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch._inductor import config
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch._inductor.utils import run_and_get_code

from qutils.backends.inductor.pt2 import check
from qutils.backends.shared.cpu import X86, saturates
from qutils.backends.shared.named_runtime import Declared, NamedRuntime, require_alike
from qutils.backends.shared.overflow import warn_of_overflow
from qutils.backends.shared.runtime import Axis, RuntimeOptions
from qutils.errors import MissingPackageError, UnsupportedError
from qutils.graph.nodes import argument, layer_of, op_name
from qutils.graph.quiet import quiet
from qutils.graph.signature import OUTPUT
from qutils.quantize.convert import register_operators

#: Samples computed in one call, at the most.
PART = 64
#: Compiled programs that stay, one for each size of batch.
_KEPT = 4
#: What generated code calls: ``torch.ops.onednn.qconv_pointwise.tensor``, ``cpp_fused_add_1``.
_CALLS = re.compile(
    r"torch\.ops\.(\w+\.\w+)(?:\.\w+)?\(|(extern_kernels\.\w+)\(|^\s+(cpp_fused_\w+)\(", re.M
)


class Inductor(NamedRuntime):
    """PyTorch's compiler with frozen weights, which is what brings the integer kernels."""

    name: ClassVar[str] = "inductor"

    def __init__(
        self, path: Path, options: RuntimeOptions, program: torch.export.ExportedProgram
    ) -> None:
        self.path = path
        self.options = options
        self._program = program
        self._inputs = _input_shapes(path, program)
        self._compiled: dict[int, tuple[Any, str]] = {}  # by size of batch

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, exact: bool = True) -> Self:
        """Load a ``.pt2`` file; it is compiled when it first runs.

        The archive is checked before PyTorch opens it: see ``inductor.pt2``.

        Raises:
            DataError: the file is missing, truncated or corrupt.
            UnsupportedError: no x86 CPU, or a file that holds more than tensors and ATen operators.
            MissingPackageError: there is no C++ compiler.
        """
        options = RuntimeOptions(threads, exact)
        check(Path(path))
        _require_machine()
        register_operators()
        try:
            with quiet(below=logging.ERROR):
                program = torch.export.load(Path(path))
        except Exception as error:
            raise UnsupportedError(
                f"PyTorch {torch.__version__} cannot read {path}: {_reason(error)}"
            ) from error
        if exact and saturates():
            warn_of_overflow(Path(path), "Inductor", _weighted(program))
        return cls(Path(path), options, program)

    @torch.no_grad()
    def computed(self, fed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, in order, of checked inputs; the first of a size is compiled for.

        Raises:
            InvalidInputError: inputs that hold different numbers of samples.
            UnsupportedError: Inductor cannot compile the graph.
        """
        require_alike({name: len(x) for name, x in fed.items()})
        tensors = [torch.from_numpy(np.require(x, requirements=["C", "W"])) for x in fed.values()]
        columns = [torch.split(x, PART) for x in tensors]
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            rows = [self._computed(part) for part in zip(*columns, strict=True)]
        finally:
            torch.set_num_threads(before)
        return [torch.cat(parts).numpy() for parts in zip(*rows, strict=True)]

    def _computed(self, part: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        found = self._at(part)(self._argument(part))
        return [found] if isinstance(found, torch.Tensor) else [*found.values()]

    def _argument(self, part: tuple[torch.Tensor, ...]) -> Any:
        """What the program was exported with: one tensor, or a dict of several."""
        if _argument_spec(self._program).is_leaf():
            return part[0]
        return dict(zip(self._inputs, part, strict=True))

    def kernels(self) -> Counter[str]:
        """What the generated code calls: oneDNN's operators, and loops of C++ by their names."""
        if not self._compiled:
            zeros = {
                name: np.zeros([1, *(size for size in axes if isinstance(size, int))], dtype)
                for name, (axes, dtype) in self._inputs.items()
            }
            self.run(zeros)
        code = next(iter(self._compiled.values()))[1]
        return Counter(next(filter(None, call)) for call in _CALLS.findall(_body(code)))

    def _at(self, part: tuple[torch.Tensor, ...]) -> Any:
        """The program compiled for this size of batch; the last few are kept."""
        size = len(part[0])
        if size not in self._compiled:
            while len(self._compiled) >= _KEPT:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[size] = self._compile(part)
        return self._compiled[size][0]

    def _compile(self, part: tuple[torch.Tensor, ...]) -> tuple[Any, str]:
        settings: dict[str, Any] = {
            "freezing": True,  # brings the integer kernels
            "cpp.threads": self.threads,
        }
        try:
            with quiet(below=logging.ERROR), config.patch(settings):
                module = self._program.module(check_guards=False)
                compiled = torch.compile(module, fullgraph=True, dynamic=False)
                _, code = run_and_get_code(compiled, self._argument(part))
        except Exception as error:
            raise UnsupportedError(
                f"Inductor cannot compile {self.path}: {_reason(error)}"
            ) from error
        return compiled, "\n".join(code)

    @property
    def version(self) -> str:
        """Version of the torch package."""
        return str(torch.__version__)

    @property
    def declared(self) -> Mapping[str, Declared]:
        """Axes and type of each input, by name, in order; the batch is of any size."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order; ``output`` if there is one."""
        spec: Any = self._program.call_spec.out_spec
        return (OUTPUT,) if spec.is_leaf() else tuple(map(str, spec.context))


def _require_machine() -> None:
    """Inductor's int8 kernels are oneDNN's for x86, and its loops are compiled here."""
    if platform.machine().lower() not in X86 or not torch._C._has_mkldnn:
        raise UnsupportedError(
            f"Inductor's int8 kernels need an x86 CPU and oneDNN; this is {platform.machine()}: "
            "export for another target"
        )
    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise MissingPackageError(
            "Inductor needs a C++ compiler, and found none. Install one (apt-get install g++), or "
            "name yours in the environment variable CXX"
        ) from error


def _argument_spec(program: torch.export.ExportedProgram) -> Any:
    """The structure of the first argument: a tensor, or a dict of tensors by input name."""
    return program.call_spec.in_spec.child(0).child(0)


def _input_shapes(
    path: Path, program: torch.export.ExportedProgram
) -> dict[str, tuple[tuple[Axis, ...], np.dtype[Any]]]:
    """Shapes and types of the inputs by name; the batch is open."""
    names = program.graph_signature.user_inputs
    values = {n.name: n.meta["val"] for n in program.graph.nodes if n.name in names}
    spec = _argument_spec(program)
    said = names if spec.is_leaf() else spec.context
    found: dict[str, tuple[tuple[Axis, ...], np.dtype[Any]]] = {}
    for name, value in zip(said, (values[name] for name in names), strict=True):
        if isinstance(value.shape[0], int):
            raise UnsupportedError(f"{path} does not take batches of any size: export it again")
        dtype = np.dtype(str(value.dtype).removeprefix("torch."))
        found[name] = ((None, *map(int, value.shape[1:])), dtype)
    return found


def _weighted(
    program: torch.export.ExportedProgram,
) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Name, stored 8-bit weights and groups of each layer with weights."""
    stored = program.graph_signature.inputs_to_buffers
    for node in program.graph.nodes:
        if op_name(node) not in ("conv1d", "conv2d", "linear"):
            continue
        rounded: Any = node.args[1]
        source = rounded.args[0] if op_name(rounded).startswith("dequantize") else rounded
        weight = program.state_dict.get(stored.get(source.name, ""))
        if weight is not None and weight.dtype is torch.int8:
            yield layer_of(node), weight.numpy(), argument(node, 6, 1)


def _body(code: str) -> str:
    """The function that is called for each batch, without what defines the kernels."""
    return code[code.rfind("def call(") :]


def _reason(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
