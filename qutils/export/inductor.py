"""Reference graph -> ``.pt2`` for PyTorch's own compiler, Inductor, on x86 CPUs.

The file holds the graph and its int8 weights, no machine code: ``runtimes.inductor`` compiles it
where it runs. An AOTInductor package would hold code for one kind of CPU and one size of batch:
with the batch left open PyTorch 2.13 packaged ResNet-8 so that it computed nonsense.

Inductor replaces a layer by oneDNN's int8 kernel where it reads unsigned activations, int8 weights
dequantized per channel, and a float bias.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch.fx import GraphModule

from qutils.convert import convert
from qutils.export.forms import (
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
from qutils.simulate import SimulatedModel

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
    module = convert(sim)
    prepare(module)
    program = _exported(module, sim.captured.input_shape)
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


def _exported(module: GraphModule, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=_MOST)
    example = torch.zeros(2, *input_shape)
    try:
        with quiet(below=logging.ERROR, prints=True):
            program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    except Exception as error:
        raise untranslated("torch.export", error) from error
    program.example_inputs = None  # would be stored as a pickle
    for node in program.graph.nodes:
        for key in _TRACES:
            node.meta.pop(key, None)
    return program
