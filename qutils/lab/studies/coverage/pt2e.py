"""torchao's post-training quantization of an exported program, as a peer that runs in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qutils.graph.signature import Batch


def converted(model: nn.Module, calibration: Batch) -> nn.Module:
    """Return the network that torchao's X86 Inductor quantizer makes, at its default settings.

    It computes with quantize and dequantize operators in float, as its own documentation measures
    accuracy before compiling; its speed is that of no integer kernel and is not timed.

    Raises:
        Exception: whatever ``torch.export`` and the tool raise.
    Source: torchao, "PyTorch 2 Export Post Training Quantization with X86 Backend".
    """
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    batch: Any = {0: torch.export.Dim.DYNAMIC}
    if isinstance(calibration, Tensor):
        program = torch.export.export(model, (calibration,), dynamic_shapes=(batch,))
    else:
        dynamic = dict.fromkeys(calibration, batch)
        program = torch.export.export(model, (), dict(calibration), dynamic_shapes=dynamic)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        if isinstance(calibration, Tensor):
            prepared(calibration)
        else:
            prepared(**calibration)
    made: nn.Module = convert_pt2e(prepared)
    return made
