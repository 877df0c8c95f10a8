from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from qutils.errors import InvalidInputError
from qutils.evaluate.analysis import operation_energy
from qutils.evaluate.analysis.operation_energy import MEMORIES
from qutils.numerics.schemes import Recipe, Scheme
from tests.unit.graph.networks import observed

# "ten-lines": conv 3 -> 8 on 8x8, conv 8 -> 16 on 4x4, linear 256 -> 10
MACS = (8 * 27 * 64, 16 * 72 * 16, 2560)
WEIGHTS = (8 * 27, 16 * 72, 2560)


def simulated(bits: int, activations: int = 8):
    weights = Scheme(bits, granularity="per_channel")
    return observed("ten-lines").simulate(Recipe(weights, Scheme(activations)))


def test_float_by_hand():
    cost = operation_energy(observed("ten-lines").captured)
    assert tuple(layer.multiply_adds for layer in cost.layers) == MACS
    assert tuple(layer.weight_bytes for layer in cost.layers) == tuple(4 * w for w in WEIGHTS)
    assert {layer.arithmetic for layer in cost.layers} == {"float32"}
    assert cost.arithmetic_uj == pytest.approx(sum(MACS) * (3.7 + 0.9) * 1e-6)
    dram = sum(WEIGHTS) * 4 / 8 * 1e-6  # accesses of 64 bits
    assert (cost.weights_uj.low, cost.weights_uj.high) == pytest.approx((1300 * dram, 2600 * dram))
    assert cost.layers[0].activation_bytes == 4 * (3 * 64 + 8 * 64)


def test_int8_by_hand():
    cost = operation_energy(simulated(8))
    assert {layer.arithmetic for layer in cost.layers} == {"int8"}
    assert cost.arithmetic_uj == pytest.approx(sum(MACS) * (0.2 + 0.1) * 1e-6)
    assert tuple(layer.weight_bytes for layer in cost.layers) == WEIGHTS
    # input and output in 8 bits; the logits leave as float32
    assert [layer.activation_bytes for layer in cost.layers[::2]] == [3 * 64 + 8 * 64, 256 + 4 * 10]


def test_fewer_bits_move_fewer_bytes_and_multiply_alike():
    eight, four = operation_energy(simulated(8)), operation_energy(simulated(4))
    assert four.weights_uj.high == pytest.approx(eight.weights_uj.high / 2)
    assert four.arithmetic_uj == eight.arithmetic_uj
    assert four.activations_uj == eight.activations_uj
    assert operation_energy(simulated(8, 4)).activations_uj.high < eight.activations_uj.high


def test_memories_are_a_choice():
    near = operation_energy(simulated(8), weights_in="sram_32kb", activations_in="sram_8kb")
    assert near.weights_uj.low == near.weights_uj.high == pytest.approx(sum(WEIGHTS) * 20 / 8e6)
    total = near.arithmetic_uj + near.weights_uj.low + near.activations_uj.low
    assert near.total_uj.low == pytest.approx(total)
    with pytest.raises(InvalidInputError, match=r"unknown memory 'drum': did you mean 'dram'\?"):
        operation_energy(simulated(8), weights_in="drum")
    assert set(MEMORIES) == {"sram_8kb", "sram_32kb", "sram_1mb", "dram"}


def test_words_say_that_it_is_an_estimate():
    words = str(operation_energy(simulated(8)))
    assert words.startswith("estimated (Horowitz 2014, 45 nm): ")
    assert f"{sum(MACS):,} multiply-adds" in words
    assert "weights from dram" in words


@pytest.mark.parametrize("name", ["linear-3d", "conv1d", "conv-options", "resnet8", "mobilenetv2"])
def test_multiply_adds_of_other_layers(name):
    """PyTorch's own counter of floating-point operations: two for a multiply-add."""
    captured = observed(name).captured
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        captured.module(torch.zeros(1, *captured.input_shape))
    assert operation_energy(captured).multiply_adds == counter.get_total_flops() // 2
