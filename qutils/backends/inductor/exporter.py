"""Reference graph -> ``.pt2`` for PyTorch's own compiler, Inductor, on x86 CPUs.

The file holds the graph and its int8 weights, no machine code: its runtime compiles it where it
runs. An AOTInductor package would hold code for one kind of CPU and one size of batch: with the
batch left open PyTorch 2.13 packaged ResNet-8 so that it computed nonsense.

Inductor replaces a layer by oneDNN's int8 kernel where it reads unsigned activations, int8 weights
dequantized per channel, and a float bias.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from qutils.backends.shared.forms import (
    dense,
    float_biases,
    one_reader_each,
    scales_of_channels,
    signed_weights,
    spell_out_shapes,
    unsigned,
    untranslated,
)
from qutils.files import atomic_path
from qutils.graph.quiet import quiet
from qutils.graph.signature import Signature
from qutils.quantize.convert import convert
from qutils.quantize.simulate import SimulatedModel

#: The most samples that one call of a program may take; what is exported holds for any number.
_MOST = 1 << 16
#: Where a node came from: most of the bytes of a small graph.
_TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")


def export_inductor(sim: SimulatedModel, path: Path) -> Path:
    """Write a simulated model as a ``.pt2`` file that Inductor compiles to int8 kernels.

    Raises:
        UnsupportedError: the target has no kernel for the recipe, or ``torch.export`` refuses.
        DataError: the folder cannot be written.
    Source: PyTorch 2 export quantization with the X86 backend through Inductor.
    """
    sim.target.require_kernels(sim.recipe)
    signature = sim.captured.signature
    signature.require_batches()
    module = convert(sim)
    prepare(module)
    program = _exported(module, signature)
    with atomic_path(Path(path)) as temporary, quiet(below=logging.ERROR):
        torch.export.save(program, temporary)
    return Path(path)


def prepare(module: GraphModule) -> None:
    """Bring a reference graph into the form that Inductor looks for, in place."""
    unsigned(module)
    signed_weights(module)
    scales_of_channels(module)
    float_biases(module)
    dense(module)
    spell_out_shapes(module)
    one_reader_each(module)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()


class _Named(nn.Module):
    """Takes one dict of inputs by name, returns several outputs as a dict."""

    def __init__(self, module: GraphModule, signature: Signature) -> None:
        super().__init__()
        self.module, self.signature = module, signature

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        return self.signature.pack(self.module(*(inputs[n] for n in self.signature.names)))


def _exported(module: GraphModule, signature: Signature) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=_MOST)
    args: Any = tuple(spec.example(2, {}) for spec in signature.inputs)
    shapes: Any = ({0: batch},)
    whole: nn.Module = module
    if not len(signature.inputs) == len(signature.outputs) == 1:
        args = (dict(zip(signature.names, args, strict=True)),)
        shapes = ({name: {0: batch} for name in signature.names},)
        whole = _Named(module, signature)
    try:
        with quiet(below=logging.ERROR, prints=True):
            program = torch.export.export(whole, args, dynamic_shapes=shapes)
    except Exception as error:
        raise untranslated("torch.export", error) from error
    program.example_inputs = None  # would be stored as a pickle
    for node in program.graph.nodes:
        for key in _TRACES:
            node.meta.pop(key, None)
    return program
