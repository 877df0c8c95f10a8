"""What executes and how long it takes: ONNX Runtime's own profile, joined with its own graph."""

from __future__ import annotations

import json
import math
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from qutils.backends.onnxruntime.runtime import session_options_of
from qutils.backends.shared.onnx_file import read_onnx
from qutils.backends.shared.runtime import Arrays, RuntimeOptions
from qutils.evaluate.bench.latency import Ratio, paired_ratio, samples_of

Kind = Literal["integer", "float", "conversion", "other"]
#: Operators that change the form of values, not the values.
CONVERSIONS = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"),
        *("ReorderInput", "ReorderOutput", "Transpose"),
    }
)
_INTEGERS = frozenset({"uint8", "int8", "uint16", "int16"})
#: Integer kernels that read or write floats: they quantize, or scale, on their own.
_INTEGER_OPS = frozenset({"DynamicQuantizeMatMul", "MatMulIntegerToFloat"})
_FLOATS = frozenset({"float", "float16", "double", "bfloat16"})
#: Where an operator that multiplies by weights keeps them.
_WEIGHTS = {
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "QGemm": 3,
    **dict.fromkeys(("Conv", "FusedConv", "ConvTranspose", "ConvInteger"), 1),
    **dict.fromkeys(("Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulInteger"), 1),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), 1),
    "NhwcFusedConv": 1,
}
_CONVOLUTIONS = frozenset(op for op in _WEIGHTS if "Conv" in op)


@dataclass(frozen=True)
class Executed:
    """One operator that executes: what it reads and writes, and its median time.

    ``weight`` is the shape of its stored weights, ``[M, C / groups, ...]`` or ``[K, N]``.
    """

    name: str
    op: str
    kind: Kind
    milliseconds: float
    inputs: tuple[str, ...]  # names of values
    outputs: tuple[str, ...]
    output_shape: tuple[int, ...]
    weight: tuple[int, ...] | None
    groups: int
    multiply_adds: int
    moved_bytes: int  # read and written, weights included
    source: str = ""  # name of the node in the file that was given; empty if the optimizer made it
    durations: tuple[float, ...] = ()  # [ms], one a run

    @property
    def depthwise(self) -> bool:
        """A convolution of one channel a group."""
        return self.groups > 1 and self.weight is not None and self.weight[1] == 1

    @property
    def title(self) -> str:
        """The name in the file; of what the optimizer made, its own without what that adds."""
        return self.source or _plain(self.name)

    @property
    def iqr_ms(self) -> float:
        """Interquartile range of the durations [ms]; 0 if there are none."""
        return _iqr(np.array(self.durations))

    @property
    def least_ms(self) -> float:
        """Lower end of the 95 % interval of the median [ms]; the median without durations."""
        if not self.durations:
            return self.milliseconds
        return paired_ratio(np.array(self.durations), np.ones(len(self.durations))).low


@dataclass(frozen=True)
class Profile:
    """Operators in order of execution; times are medians over ``runs`` runs of one batch."""

    executed: tuple[Executed, ...]
    runs: int
    batch: int
    threads: int

    @property
    def milliseconds(self) -> float:
        """Sum of the operators' medians."""
        return sum(one.milliseconds for one in self.executed)

    def by_op(self) -> dict[tuple[str, Kind], float]:
        """Milliseconds of each operator type, longest first."""
        sums: dict[tuple[str, Kind], float] = defaultdict(float)
        for one in self.executed:
            sums[one.op, one.kind] += one.milliseconds
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def iqr_ms(self, op: str | None = None, kind: Kind | None = None) -> float:
        """Interquartile range over runs of the time of an operator type [ms], or of all."""
        chosen = [
            one.durations
            for one in self.executed
            if one.durations and (op is None or (one.op, one.kind) == (op, kind))
        ]
        return _iqr(np.sum(chosen, axis=0)) if chosen else 0.0

    def part(self, operators: Sequence[Executed]) -> Ratio:
        """Share of the operators' time that these take, 0..1, paired by run; 0 if none are timed.

        Operators of the same runs are slowed down alike, so that shares spread less than times.
        """
        timed = [one.durations for one in operators if one.durations]
        every = [one.durations for one in self.executed if one.durations]
        if not timed or not every:
            return Ratio(0.0, 0.0, 0.0)
        total = np.maximum(np.sum(every, axis=0), np.finfo(float).tiny)
        return paired_ratio(np.sum(timed, axis=0), total)

    def share(self, kind: Kind) -> float:
        """Percent of the operators' time that one kind takes."""
        part = sum(one.milliseconds for one in self.executed if one.kind == kind)
        return 100 * part / self.milliseconds if self.executed else math.nan


def named(path: Path) -> ModelProto:
    """The file's model, each node with a name of its own, so that the profile can tell them apart.

    A node without a name takes that of its first output, by which the file knows it as well.

    Raises:
        DataError: the file cannot be read.
    """
    model = read_onnx(path)
    seen: set[str] = set()
    for node in model.graph.node:
        output = next(filter(None, node.output), node.op_type)
        for name in (node.name, output, f"{node.op_type} {output}"):
            if name and name not in seen:
                node.name = name
                break
        seen.add(node.name)
    return model


def profile(
    model: ModelProto, batch: Arrays, options: RuntimeOptions, *, runs: int = 30
) -> Profile:
    """Run a model under ONNX Runtime's profiler, on an array, or on arrays by name.

    The profiler itself takes time at each operator: compare its times with each other; what a
    whole run takes is measured without it.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "optimized.onnx"
        session_options = session_options_of(options)
        session_options.optimized_model_filepath = str(saved)
        session_options.enable_profiling = True
        session_options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(
            model.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
        )
        feed = batch if isinstance(batch, Mapping) else {session.get_inputs()[0].name: batch}
        for _ in range(runs + _WARMUP):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
        optimized = onnx.load(str(saved))
    return Profile(
        _executed(optimized, events, _Origins(model)),
        runs=runs,
        batch=samples_of(batch),
        threads=options.threads,
    )


_WARMUP = 5


def _executed(
    optimized: ModelProto, events: list[dict[str, Any]], origins: _Origins
) -> tuple[Executed, ...]:
    """Join events with the nodes of the optimized graph; those inside of If and Loop are theirs."""
    _name_expanded(optimized, events)
    nodes = {node.name: node for node in optimized.graph.node}
    stored = {tensor.name: tensor for tensor in optimized.graph.initializer}
    behind = {
        node.output[0]: stored[node.input[0]]  # weights that wait behind a DequantizeLinear
        for node in optimized.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    times: dict[str, list[int]] = defaultdict(list)
    details: dict[str, dict[str, Any]] = {}
    for event in events:
        name = event["name"].removesuffix("_kernel_time")
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and name in nodes:
            times[name].append(event["dur"])
            details[name] = event["args"]
    return tuple(
        _one(
            nodes[name],
            details[name],
            tuple(microseconds / 1e3 for microseconds in found[_WARMUP:]),
            stored,
            behind,
            origins.name(nodes[name]),
        )
        for name, found in times.items()
    )


def _name_expanded(optimized: ModelProto, events: list[dict[str, Any]]) -> None:
    """Name the nodes that ONNX Runtime writes operators such as HardSwish out as, in place.

    It leaves them without names, and calls their events by operator and number, in their order.
    """
    nameless: dict[str, list[NodeProto]] = defaultdict(list)
    for node in optimized.graph.node:
        if not node.name:
            nameless[node.op_type].append(node)
    for op, nodes in nameless.items():
        found = (re.fullmatch(rf"{op}_(\d+)_kernel_time", event["name"]) for event in events)
        numbers = sorted({int(match[1]) for match in found if match})
        if len(numbers) == len(nodes):
            for node, number in zip(nodes, numbers, strict=True):
                node.name = f"{op}_{number}"


#: Operators after a layer that its kernel may fuse: a sum, an activation, a quantizer.
_TAKEN_IN = 3


class _Origins:
    """The nodes of the file by name and by output, to find those that the optimizer renamed."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = {node.name: node for node in model.graph.node}
        self.made = {name: node for node in model.graph.node for name in node.output}

    def name(self, node: NodeProto) -> str:
        """Name of the node in the file; empty if the optimizer made it.

        A layer that took in what follows it, an activation or a quantizer, goes by its own name.
        """
        plain = _plain(node.name)
        outputs = [name for name in (plain, *node.output) if name in self.made]  # of blocked layout
        source = self.nodes.get(plain) or (self.made[outputs[0]] if outputs else None)
        for _ in range(_TAKEN_IN if node.op_type in _WEIGHTS else 0):
            if source is None or source.op_type in _WEIGHTS:
                break
            source = self.made.get(source.input[0])
        if source is None or (node.op_type in CONVERSIONS and source.op_type != node.op_type):
            return ""  # a change of layout has the output of what it follows
        return str(source.name)


def _plain(name: str) -> str:
    """A node's name without what ONNX Runtime's optimizer adds to it."""
    return re.sub(r"(_token_\d+|_nchwc)+$", "", name)


def _iqr(values: NDArray[Any]) -> float:
    return float(np.subtract(*np.percentile(values, [75, 25]))) if values.size else 0.0


def _one(
    node: NodeProto,
    details: Mapping[str, Any],
    durations: tuple[float, ...],
    stored: Mapping[str, TensorProto],
    behind: Mapping[str, TensorProto],
    source: str,
) -> Executed:
    read, written = (details.get(f"{side}_type_shape", []) for side in ("input", "output"))
    shape = tuple(next(iter(written[0].values()))) if written else ()
    place = _WEIGHTS.get(node.op_type)
    name = "" if place is None else node.input[place]
    tensor = stored.get(name, behind.get(name))
    weight = tuple(tensor.dims) if tensor is not None else None
    constants = sum(_bytes(stored[name]) for name in node.input if name in stored)
    moved = int(details.get("activation_size", 0)) + int(details.get("output_size", 0))
    return Executed(
        name=node.name,
        op=node.op_type,
        kind=_kind(node.op_type, read, written),
        milliseconds=statistics.median(durations),
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        output_shape=shape,
        weight=weight,
        groups=next((a.i for a in node.attribute if a.name == "group"), 1),
        multiply_adds=_multiply_adds(node, shape, weight, read),
        moved_bytes=moved + constants,
        source=source,
        durations=durations,
    )


def _kind(op: str, read: list[dict[str, Any]], written: list[dict[str, Any]]) -> Kind:
    """By the first tensors that an operator reads and writes."""
    if op in CONVERSIONS:
        return "conversion"
    if op in _INTEGER_OPS:
        return "integer"
    types = [next(iter(value)) for value in (*read[:1], *written[:1])]
    if any(kind in _INTEGERS for kind in types):
        return "integer"
    return "float" if types and types[-1] in _FLOATS else "other"  # sizes of tensors are no floats


def _multiply_adds(
    node: NodeProto, shape: tuple[int, ...], weight: tuple[int, ...] | None, read: list[Any]
) -> int:
    """``output values x products a value``: ``C/g k k`` of a convolution, ``K`` of a product."""
    values = math.prod(shape)
    if (
        node.op_type == "ConvTranspose" and weight and read
    ):  # each input value meets M/g k k weights
        return math.prod(map(int, next(iter(read[0].values())))) * math.prod(weight[1:])
    if node.op_type in _CONVOLUTIONS:
        return values * math.prod(weight[1:]) if weight else 0
    if node.op_type not in _WEIGHTS or not read:
        return 0
    first = next(iter(read[0].values()))
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return values * (int(first[0 if transposed else -1]) if first else 0)


def _bytes(tensor: TensorProto) -> int:
    itemsize = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    return math.prod(map(int, tensor.dims)) * itemsize
