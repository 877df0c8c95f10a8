"""What an ExecuTorch ``.pte`` file holds: is it whole, which kernels does it call."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import (
    XNNHeader,
    _get_schema_bytes,
)
from executorch.exir._serialize._flatbuffer import _flatc_decompile
from executorch.exir._serialize._program import _get_extended_header, deserialize_pte_binary

_XNNPACK = "XnnpackBackend"
#: As the schema compiler writes it: no upper limit.
_INFINITY = re.compile(r"(?<=: )\+?(-?)inf\b")


def is_whole(program: bytes) -> bool:
    """Whether the header is one of ExecuTorch's and every byte that it announces is there."""
    try:
        header = _get_extended_header(program)
    except ValueError:
        return False
    if header is None or not header.is_valid():
        return False
    announced: int = header.segment_base_offset + header.segment_data_size
    return len(program) >= max(int(header.program_size), announced)


def executed(program: bytes) -> Iterator[str]:
    """Each kernel the method calls, with the type of its values: ``Conv2d qint8``, ``add.out``.

    Where a node takes another type than it gives, both: ``Convert fp32 to qint8``.
    """
    whole = deserialize_pte_binary(program).program
    plan = next(one for one in whole.execution_plan if one.name == "forward")
    for chain in plan.chains:
        for instruction in chain.instructions or ():
            call: Any = instruction.instr_args
            if type(call).__name__ == "KernelCall":
                operator = plan.operators[call.op_index]
                yield f"{operator.name}.{operator.overload}".removesuffix(".")
            elif type(call).__name__ == "DelegateCall":
                delegate = plan.delegates[call.delegate_index]
                if delegate.id != _XNNPACK:
                    yield delegate.id
                    continue
                data = bytes(whole.backend_delegate_data[delegate.processed.index].data)
                yield from _nodes(_graph(data))


def _graph(data: bytes) -> dict[str, Any]:
    """The subgraph that XNNPACK gets, decoded by the compiler of its schema."""
    header = XNNHeader.from_bytes(data[: XNNHeader.EXPECTED_LENGTH])
    start = header.flatbuffer_offset
    with tempfile.TemporaryDirectory() as folder:
        schema, binary = Path(folder) / "schema.fbs", Path(folder) / "graph.bin"
        schema.write_bytes(_get_schema_bytes())
        binary.write_bytes(data[start : start + header.flatbuffer_size])
        _flatc_decompile(folder, str(schema), str(binary), ["--raw-binary"])
        text = (Path(folder) / "graph.json").read_text()
    graph: dict[str, Any] = json.loads(_INFINITY.sub(r"\1Infinity", text))
    return graph


def _nodes(graph: dict[str, Any]) -> Iterator[str]:
    types = dict(_types(graph))
    for node in graph["xnodes"]:
        fields = node["xnode_union"]
        takes = types[fields.get("input_id", fields.get("input1_id"))]
        gives = types[fields["output_id"]]
        name = node["xnode_union_type"].removeprefix("XNN")
        yield f"{name} {takes}" if takes == gives else f"{name} {takes} to {gives}"


def _types(graph: dict[str, Any]) -> Iterator[tuple[int, str]]:
    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        yield tensor["id_out"], tensor["datatype"].removeprefix("xnn_datatype_")
