"""The integer reference: a network computed as integer kernels compute it, node by node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map

from qutils.errors import InvalidInputError
from qutils.graph import Target
from qutils.graph.nodes import attribute, is_float, op_name, outputs_of
from qutils.graph.ops import Kernel
from qutils.graph.pair_sums import Instructions
from qutils.graph.signature import Batch
from qutils.integer.kernels import BIASED, taken_in
from qutils.integer.saturating import kernels_on
from qutils.numerics.exact.values import Grid, Quantized, Unrounded
from qutils.quantize.convert import convert
from qutils.quantize.simulate import SimulatedModel

CHUNK = 64
#: Told of an activation before it is rounded: the node that made it, its value, its grid.
Watch = Callable[[str, Any, Grid], None]


class IntegerReference:
    """Runs a simulated model's reference Q/DQ graph in exact integer arithmetic.

    Between ``dequantize -> operator -> quantize`` nothing is computed in real numbers: the operator
    and the pair behind it are one integer kernel of the target, and what passes values on (pooling
    by maximum, padding, reshape) moves integers. Operators without such a kernel are looked up in
    tables or computed in float, as runtimes do: ``float_nodes`` names them.

    It is the oracle: the simulation is judged against it, and every runtime.

    Args:
        kernels: what computes each operator, in place of what ``instructions`` says.
        instructions: ``"vnni"`` sums exactly, as every backend does on a CPU with VNNI; ``"avx2"``
            computes what the target's kernels compute without it, saturation included, on whatever
            CPU this runs (ONNX Runtime's in a session without ``session.x64quantprecision``).

    Raises:
        InvalidInputError: not a simulated model, or unknown instructions.
        UnsupportedError: weights are quantized per group, which the reference graph lacks.
    """

    def __init__(
        self,
        sim: SimulatedModel,
        kernels: Mapping[str, Kernel] | None = None,
        *,
        instructions: Instructions = "vnni",
    ) -> None:
        if not isinstance(sim, SimulatedModel):
            raise InvalidInputError(
                f"the integer reference takes a simulated model, got {type(sim).__name__}: make "
                "one with q.calibrate(model, batches)"
            )
        self.captured, self.target = sim.captured, sim.target
        computing = kernels_on(instructions, sim.target.name) if kernels is None else kernels
        self.kernels = {op: k for op, k in computing.items() if op in sim.target.operators}
        self.module = convert(sim)
        self.float_nodes = tuple(_in_float(self.module, self.kernels, sim.target))

    def __call__(self, x: Batch) -> Any:
        """The network's outputs, float32 as a runtime hands them out: a tensor, or several by name.

        Raises:
            InvalidInputError: wrong shape or dtype; a sum that does not fit int32.
        """
        signature = self.captured.signature
        inputs = signature.arguments(x)
        if not signature.is_batched or signature.samples(inputs) <= CHUNK:
            return signature.pack(tree_map(_plain, self._run(inputs)))
        pieces = zip(*(torch.split(tensor, CHUNK) for tensor in inputs), strict=True)
        parts = [tree_map(_plain, self._run(part)) for part in pieces]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        return signature.pack([torch.cat(several) for several in zip(*parts, strict=True)])

    def integers(
        self,
        x: Batch,
        given: Mapping[str, Tensor] | None = None,
        watch: Watch | None = None,
    ) -> dict[str, Quantized]:
        """Every quantized activation of one batch, by the node that made it, in order.

        Args:
            given: integers that something else computed, by node. Each takes the place of the
                reference's once that is kept: the next layer starts from what was given, so that
                what is kept there differs only by what that layer alone does otherwise.
            watch: is told of each activation before it is rounded, and may put into ``given``
                what takes its place.

        Raises: as calling it.
        """
        found: dict[str, Quantized] = {}
        inputs = self.captured.signature.arguments(x)
        _Integers(self.module, self.target.pass_through, self.kernels, found, given, watch).run(
            *inputs
        )
        return found

    def outputs_from(self, x: Batch, given: Mapping[str, Tensor]) -> Any:
        """The outputs of one batch, with integers that something else computed, by node.

        Raises: as calling it.
        """
        inputs = self.captured.signature.arguments(x)
        run = _Integers(self.module, self.target.pass_through, self.kernels, given=given)
        return self.captured.signature.pack(tree_map(_plain, run.run(*inputs)))

    @property
    def output_step(self) -> Tensor | None:
        """What one integer more at the output is worth: ``[]``, or ``[O]`` for the last axis.

        The output grid's scale, or that of the accumulator, ``scale(input) scale(weight)``, which
        a layer with float output hands out; None behind an operator that computes in float. Of
        several outputs, the first.
        """
        last: Any = outputs_of(self.module)[0]
        if op_name(last).startswith("dequantize"):
            return torch.tensor(last.args[1])
        if op_name(last) != "linear":
            return None
        x, w = last.args[:2]
        scale = w.args[1]
        of_weight = attribute(self.module, str(scale.target)) if isinstance(scale, Node) else scale
        return torch.as_tensor(x.args[1]).float() * torch.as_tensor(of_weight).float()

    def _run(self, inputs: tuple[Tensor, ...]) -> Any:
        return _Integers(self.module, self.target.pass_through, self.kernels).run(*inputs)


class _Integers(Interpreter):
    """Runs the graph on ``Quantized`` and ``Unrounded`` values where it can."""

    def __init__(
        self,
        module: GraphModule,
        pass_through: tuple[str, ...],
        kernels: Mapping[str, Kernel],
        found: dict[str, Quantized] | None = None,
        given: Mapping[str, Tensor] | None = None,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(module)
        self.extra_traceback = False
        self.pass_through, self.found, self.watch = pass_through, found, watch
        self.kernels = kernels
        self.given = {} if given is None else given

    @torch.no_grad()
    def run(self, *args: Any, **kwargs: Any) -> Any:
        return super().run(*args, **kwargs)

    def run_node(self, n: Node) -> Any:
        op = op_name(n)
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if op.startswith("dequantize"):
            return args[0] if isinstance(args[0], Quantized) else _stored(op, args)
        if op.startswith("quantize"):
            value, source = _quantized(args), str(n.args[0])
            if self.found is not None:
                self.found[source] = value
            if self.watch is not None:
                self.watch(source, args[0], value.grid)
            taken = self.given.get(source)
            return value if taken is None else Quantized(taken, value.grid)
        if op in self.kernels and _all_quantized(args[:2] if op in BIASED else args):
            return self.kernels[op](*args, **kwargs)
        if op == "add" and any(isinstance(addend, Unrounded) for addend in args):
            return taken_in(*args)
        if op in self.pass_through and isinstance(args[0], Quantized):
            return _moved(n, args, kwargs)
        plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
        return super().call_function(n.target, plain_args, plain_kwargs)


def _quantized(args: tuple[Any, ...]) -> Quantized:
    """``quantize_per_tensor(x, scale, zero_point, qmin, qmax, dtype)``."""
    x, scale, zero_point, qmin, qmax = args[:5]
    grid = _grid(scale, zero_point, qmin, qmax)
    if isinstance(x, Unrounded):
        return Quantized(x.requantize(grid), grid)
    if isinstance(x, Quantized):  # a pass-through operator: the grid is the same
        same = torch.equal(x.grid.scale, grid.scale) and x.grid.zero_point == grid.zero_point
        return Quantized(x.integers if same else grid.quantize(x.value()), grid)
    return Quantized(grid.quantize(x), grid)


def _stored(op: str, args: tuple[Any, ...]) -> Quantized:
    """A stored weight or bias, as ``dequantize_per_tensor`` and ``_per_channel`` describe it."""
    if op == "dequantize_per_channel":
        integers, scale, zero_point, axis, qmin, qmax = args[:6]
        return Quantized(integers.int(), Grid(scale.float(), zero_point, qmin, qmax, axis))
    integers, scale, zero_point, qmin, qmax = args[:5]
    return Quantized(integers.int(), _grid(scale, zero_point, qmin, qmax))


def _grid(scale: float, zero_point: int, qmin: int, qmax: int) -> Grid:
    return Grid(torch.tensor(scale, dtype=torch.float32), torch.tensor(zero_point), qmin, qmax)


def _moved(n: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Quantized:
    """An operator that only moves integers, around a zero point of 0: padding then adds zeros."""
    x: Quantized = args[0]
    centered = (x.integers - x.grid.zero_point).double()
    moved: Tensor = n.target(centered, *args[1:], **kwargs)  # type: ignore[operator]
    return Quantized(moved.to(torch.int32) + x.grid.zero_point.int(), x.grid)


def _all_quantized(args: tuple[Any, ...]) -> bool:
    """Whether every tensor among the arguments is an integer one, lists of them included."""
    flat = [m for a in args for m in (a if isinstance(a, list | tuple) else [a])]
    tensors = [m for m in flat if isinstance(m, Tensor | Quantized | Unrounded)]
    return bool(tensors) and all(isinstance(m, Quantized) for m in tensors)


def _plain(value: Any) -> Any:
    """Real numbers of whatever the reference carries; other values as they are."""
    return value.value() if isinstance(value, Quantized | Unrounded) else value


def _in_float(module: GraphModule, kernels: Collection[str], target: Target) -> Iterator[str]:
    """Nodes that compute tensors, by neither an integer kernel nor by moving integers."""
    known = {*kernels, *target.pass_through}
    if target.bias == "float":  # what follows the scaled accumulator is of the same kernel
        known.update(target.fused)
    for node in module.graph.nodes:
        op = op_name(node)
        pair = op.startswith(("quantize_per", "dequantize_per"))
        if node.op == "call_function" and is_float(node) and not pair and op not in known:
            yield node.name
