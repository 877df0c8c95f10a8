"""The form in which a simulated model trains: the same outputs and gradients, less work."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from qutils import zoo
from qutils.numerics.schemes import Recipe, Scheme
from qutils.quantize.calibration import calibrate
from qutils.quantize.qat import finetune
from qutils.quantize.qat.finetune import groups
from qutils.quantize.qat.trainable import _without_clamps, trainable
from tests.unit.graph.networks import observed
from tests.unit.graph.networks.base import head_on

W4A4 = Recipe(Scheme(4, granularity="per_channel"), Scheme(4))


def clamps(graph):
    nodes = (n for n in graph.nodes if n.op == "call_function")
    return [n for n in nodes if "relu" in str(n.target) or "hardtanh" in str(n.target)]


def outputs_and_gradients(sim, x):
    groups(sim, 1e-3)
    sim.zero_grad()
    y = sim.graph_module(x)
    y.square().sum().backward()
    return y.detach(), {
        name: p.grad.clone() for name, p in sim.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize(("name", "left_out"), [("resnet8", 7), ("mobilenetv2", 13)])
def test_a_clamp_that_the_quantizer_repeats_is_left_out(name, left_out):
    sim = observed(name).simulate(W4A4)
    whole = sim.graph_module.graph
    sim.graph_module.double()  # sums in another order then differ far below the bounds
    x = 3 * torch.randn(4, 1, 28, 28, dtype=torch.float64)
    before = len(clamps(whole))
    y, gradients = outputs_and_gradients(sim, x)
    sim.graph_module.graph = _without_clamps(sim)
    assert before - len(clamps(sim.graph_module.graph)) == left_out
    theirs, others = outputs_and_gradients(sim, x)
    assert torch.equal(y, theirs)
    assert gradients.keys() == others.keys()
    assert any(key.endswith(".scale") for key in gradients)
    for key, gradient in gradients.items():
        torch.testing.assert_close(others[key], gradient, rtol=1e-4, atol=1e-5)


def test_a_clamp_stays_where_integers_do_not_begin_at_its_lower_end():
    sim = observed("resnet8").simulate(W4A4)
    for quantizer in sim.quantizers.values():
        quantizer.zero_point.data += 1
    assert len(clamps(_without_clamps(sim))) == len(clamps(sim.graph_module.graph))


def test_a_relu6_that_no_range_ends_at_stays():
    """Kept in float, it is not absorbed: training may lead the range after it beyond 6."""
    network = head_on(lambda net, x: (lambda y: F.relu6(y) + y)(net.conv(x)))
    sim = calibrate(network.make(), network.inputs())
    assert len(clamps(sim.graph_module.graph)) == len(clamps(_without_clamps(sim))) == 1


def test_graph_and_layout_are_as_before_on_leaving():
    sim = observed("mobilenetv2").simulate(W4A4)
    whole, state = sim.graph_module.graph, {k: v.clone() for k, v in sim.state_dict().items()}
    with pytest.raises(ZeroDivisionError), trainable(sim):
        assert len(clamps(sim.graph_module.graph)) < len(clamps(whole))
        raise ZeroDivisionError
    assert str(sim.graph_module.graph) == str(whole)
    for name, value in sim.state_dict().items():
        assert torch.equal(value, state[name])
        assert value.is_contiguous()


def test_a_trained_model_keeps_its_activations():
    sim = observed("resnet8").simulate(W4A4)
    trained = finetune(sim, [(torch.randn(4, 1, 28, 28), torch.arange(4))], progress=False)
    assert len(clamps(trained.graph_module.graph)) == len(clamps(sim.graph_module.graph)) == 7
    assert all(p.is_contiguous() for p in trained.parameters())
    assert zoo.entry("resnet8").input_shape == trained.captured.input_shape
