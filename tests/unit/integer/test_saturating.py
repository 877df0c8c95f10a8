"""Pairs added in 16 bits: against loops over products, against real kernels, against proofs."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.export import export
from qutils.errors import UnsupportedError
from qutils.graph.ops.layers import convolve
from qutils.integer import KERNELS, SATURATING, IntegerReference
from qutils.integer.saturating import convolve_in_pairs, linear_in_pairs, pair_excess
from qutils.numerics.exact.values import Grid, Quantized
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from tests.unit.integer.emulated import run_without_vnni

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/conv/pairs_avx2.json").read_text())
#: Name -> layer and shape of its input.
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "one channel": (nn.Conv2d(1, 16, 3, padding=1), (1, 7, 7)),
    "odd": (nn.Conv2d(3, 7, 3, padding=1), (3, 7, 7)),
    "stride": (nn.Conv2d(4, 16, 3, stride=2, padding=1), (4, 8, 7)),
    "dilation": (nn.Conv2d(6, 20, 3, dilation=2), (6, 7, 7)),
    "1x1": (nn.Conv2d(8, 32, 1), (8, 5, 5)),
    "groups": (nn.Conv2d(6, 9, 3, groups=3), (6, 6, 6)),
    "depthwise": (nn.Conv2d(16, 16, 3, groups=16, padding=1), (16, 6, 6)),
    "two of each": (nn.Conv2d(4, 8, 3, groups=4), (4, 6, 6)),
    "same": (nn.Conv2d(3, 8, 3, padding="same"), (3, 6, 6)),
    "1 axis": (nn.Conv1d(3, 16, 5, padding=2), (3, 12)),
    "3 axes": (nn.Conv3d(2, 16, 3, padding=1), (2, 4, 5, 6)),
    "linear": (nn.Linear(37, 20), (37,)),
    "rows": (nn.Linear(16, 8), (5, 16)),
}


def coarse(layer: nn.Module) -> nn.Module:
    """The layer with large weights, most of them positive: pairs leave 16 bits often."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        draw = torch.rand(layer.weight.shape, generator=generator)
        layer.weight.copy_((draw - 0.3).sign() * (0.6 + 0.4 * draw))
    return layer


def simulated(name: str, recipe: Recipe | None = None):
    layer, shape = LAYERS[name]
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    return calibrate(nn.Sequential(coarse(layer), nn.ReLU()), [x], recipe or Recipe()), x


def grid(scale=0.1, zero_point=0, qmin=0, qmax=255) -> Grid:
    return Grid(torch.tensor(scale), torch.tensor(zero_point), qmin, qmax)


def by_loops(x, w, zero_point, stride, padding) -> np.ndarray:
    """``[C, H, W]`` and ``[O, C, k, k]``: every pair, place by place, then by channel."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)), constant_values=zero_point)
    size = w.shape[-1]
    spans = [range(0, n - size + 1, stride) for n in x.shape[1:]]
    found = np.zeros((len(w), *map(len, spans)), int)
    for (o, filt), (i, top), (j, left) in product(enumerate(w), *map(enumerate, spans)):
        window = x[:, top : top + size, left : left + size]
        products = [
            int(window[c, a, b]) * int(filt[c, a, b])
            for a, b, c in product(range(size), range(size), range(len(x)))
        ] + [0]
        pairs = [products[k] + products[k + 1] for k in range(0, len(products) - 1, 2)]
        found[o, i, j] = sum(min(max(p, -32768), 32767) for p in pairs)
    return found - zero_point * w.sum((1, 2, 3))[:, None, None]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_convolution_by_loops(channels, stride, padding):
    rng = np.random.default_rng(channels)
    x, w = rng.integers(0, 256, (channels, 5, 5)), rng.integers(-127, 128, (4, channels, 3, 3))
    expected = by_loops(x, w, 131, stride, padding)
    args = (
        Quantized(torch.tensor(x)[None].int(), grid(zero_point=131)),
        Quantized(torch.tensor(w).int(), grid(qmin=-127, qmax=127)),
    )
    found = convolve_in_pairs(*args, None, stride, padding).integers
    assert np.array_equal(found[0].numpy(), expected)
    assert not torch.equal(found, convolve(*args, None, stride, padding).integers)


def test_signed_activations_are_moved_up_by_128():
    """-128 + 128 = 0: nothing saturates; 127 + 128 = 255: both pairs do."""
    w = Quantized(torch.full((1, 2), 127, dtype=torch.int32), grid(qmin=-127, qmax=127))
    x = torch.tensor([[-128, -128], [127, 127]], dtype=torch.int32)
    found = linear_in_pairs(Quantized(x, grid(qmin=-128, qmax=127)), w).integers
    assert found.flatten().tolist() == [2 * -128 * 127, 32767 - 2 * 128 * 127]


def test_padding_of_signed_activations_is_moved_up_as_well():
    """The byte 131 of a real zero leaves 16 bits beside such weights: 131 (127 + 127) = 33,274."""
    x, w = torch.randint(0, 256, (1, 2, 5, 5)).int(), torch.full((1, 2, 3, 3), 127).int()
    unsigned, signed = (
        convolve_in_pairs(
            Quantized(x - down, grid(zero_point=131 - down, qmin=-down, qmax=255 - down)),
            Quantized(w, grid(qmin=-127, qmax=127)),
            padding=1,
        ).integers
        for down in (0, 128)
    )
    assert torch.equal(unsigned, signed)


def test_only_weights_that_reach_129_together_saturate():
    everything = torch.tensor(list(product(range(-127, 128, 2), repeat=2)))
    x = torch.tensor([[0, 255], [255, 0], [255, 255]], dtype=torch.int32)
    sums = x @ everything.T.int()
    excess = pair_excess(lambda k: x[:, k], everything)
    assert torch.equal(sums + excess, sums.clamp(-32768, 32767))
    seven = torch.tensor(list(product((-63, 0, 63), repeat=2)))
    assert pair_excess(lambda k: x[:, k], seven) is None


@pytest.mark.parametrize("name", LAYERS)
def test_seven_bits_of_weights_never_saturate(name):
    sim, x = simulated(name, Recipe(Scheme(7, granularity="per_channel")))
    assert torch.equal(IntegerReference(sim, SATURATING)(x), IntegerReference(sim)(x))


def test_depthwise_and_unsigned_weights_stay_exact():
    sim, x = simulated("depthwise")
    assert torch.equal(IntegerReference(sim, SATURATING)(x), IntegerReference(sim)(x))
    unsigned = Recipe(Scheme(signed=False, symmetric=False))
    sim, x = simulated("odd", unsigned)
    assert torch.equal(IntegerReference(sim, SATURATING)(x), IntegerReference(sim)(x))


def test_float_bias_is_refused():
    x, w = Quantized(torch.ones(1, 2).int(), grid()), grid(qmin=-127, qmax=127)
    with pytest.raises(UnsupportedError, match="place the model for onnxruntime"):
        linear_in_pairs(x, Quantized(torch.ones(1, 2).int(), w), torch.ones(1))


def test_exact_kernels_are_the_default():
    sim, x = simulated("odd")
    assert torch.equal(IntegerReference(sim)(x), IntegerReference(sim, KERNELS)(x))


def test_golden_file_of_a_real_kernel():
    """Outputs of QLinearConv, ONNX Runtime on AVX2 (QEMU's Haswell)."""
    g = GOLDEN
    x = Quantized(torch.tensor(g["x"]).int(), grid(g["scale_x"], g["zero_point_x"]))
    w = Quantized(torch.tensor(g["w"]).int(), grid(g["scale_w"], 0, -127, 127))
    bias = Quantized(torch.tensor(g["bias"]).int(), grid(1.0, 0, -(2**31), 2**31 - 1))
    y = grid(g["scale_y"], g["zero_point_y"])
    found, exact = (f(x, w, bias, 1, 1).requantize(y) for f in (convolve_in_pairs, convolve))
    assert found.tolist() == g["y_avx2"]
    assert exact.tolist() == g["y_vnni"]
    assert (found - exact).abs().max() == 7


@pytest.mark.nightly(reason="QEMU needs a minute; the golden file above is of the same kernel")
def test_equals_onnx_runtime_without_vnni(tmp_path):
    data = zoo.dataset("fashion_mnist")
    pictures = data.test.prepare(data.test.images[:8])
    sims = {f"{i}": (*simulated(name), name) for i, name in enumerate(LAYERS)}
    for name in zoo.MODELS:
        sims[name] = (calibrate(zoo.load(name), data.calibration.take(64)), pictures, name)
    files = {export(sim, tmp_path / f"{key}.onnx"): x.numpy() for key, (sim, x, _) in sims.items()}
    found = run_without_vnni(files)
    for path, (sim, x, name) in zip(files, sims.values(), strict=True):
        assert np.array_equal(IntegerReference(sim, SATURATING)(x).numpy(), found[path]), name


def test_files_with_seven_bits_are_exact_in_every_session(tmp_path):
    data = zoo.dataset("fashion_mnist")
    x = data.test.prepare(data.test.images[:8])
    recipe = Recipe(Scheme(7, granularity="per_channel"))
    sim = calibrate(zoo.load("resnet8"), data.calibration.take(64), recipe)
    path = export(sim, tmp_path / "seven.onnx")
    reference = IntegerReference(sim)(x).numpy()
    for exact in (True, False):
        assert np.array_equal(runtimes.load(path, exact=exact).run(x.numpy()), reference)
