"""Wrappers are left out of the graph; what cannot be left out is refused with the fix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from qutils.backends.shared.onnx_writer import export_float
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph import capture
from qutils.graph.wrappers import plain_copy
from qutils.quantize.calibration import calibrate
from tests.unit.graph.networks import conv

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(conv(), nn.ReLU(), conv(8, 4, 1)).eval()


class Inside(nn.Module):
    """A wrapped network inside another."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.body, self.head = wrap(net()), conv(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Collects(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.net(*inputs)


class CollectsAll(Collects):
    def forward(self, *inputs: Tensor, **options: object) -> Tensor:
        return self.net(*inputs, **options)


class Optional(Collects):
    def forward(self, x: Tensor, mask: Tensor | None = None, *rest: Tensor) -> Tensor:
        return self.net(x) if mask is None else self.net(x) * mask


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "compiled": torch.compile,
    "two wrappers": lambda model: torch.compile(nn.DataParallel(model)),
}


@pytest.mark.parametrize("name", WRAPPERS)
@torch.no_grad()
def test_a_wrapped_network_is_captured_as_if_it_were_not(name):
    wrapped, plain = capture(WRAPPERS[name](net()), X).module, capture(net(), X).module
    assert wrapped.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(wrapped(X), plain(X))


@pytest.mark.parametrize("name", WRAPPERS)
@torch.no_grad()
def test_a_wrapped_part_is_captured_as_if_it_were_not(name):
    model = Inside(WRAPPERS[name])
    kinds = [type(module) for module in model.modules()]
    captured = capture(model, X).module
    assert "body.0.weight" in captured.state_dict()
    plain = Inside(lambda part: part)
    plain.head.load_state_dict(model.head.state_dict())
    torch.testing.assert_close(captured(X), plain(X))
    assert [type(module) for module in model.modules()] == kinds


def test_distributed_networks_are_unwrapped(tmp_path):
    """A group of one process, as a script started without torchrun makes it."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(net())
        captured = capture(wrapped, X).module
    finally:
        torch.distributed.destroy_process_group()
    assert captured.state_dict().keys() == net().state_dict().keys()


def test_a_network_compiled_in_place_is_captured():
    model = net()
    model.compile()
    assert "0.weight" in capture(model, X).module.state_dict()


@pytest.mark.parametrize("kind", [Collects, CollectsAll, Optional])
@torch.no_grad()
def test_the_batch_stays_open_whatever_the_signature(kind):
    model = kind().eval()
    module = capture(model, X).module
    for n in (1, 3):
        x = torch.randn(n, 3, 8, 8)
        torch.testing.assert_close(module(x), model(x))


def test_parameters_shared_across_a_wrapper_stay_shared():
    model = Inside(nn.DataParallel)
    model.tied = model.body.module[0].weight
    copied = plain_copy(model)
    assert copied.tied is copied.body[0].weight
    assert copied.tied is not model.tied


class Keyword(Collects):
    def forward(self, *, x: Tensor) -> Tensor:
        return self.net(x)


class Pair(Collects):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.net(x) + y


@pytest.mark.parametrize("kind", [Keyword, Pair])
def test_a_signature_that_does_not_take_one_tensor_says_how_to_give_its_inputs(kind):
    message = r"\.forward takes x.*, got one tensor alone \(.*argument.*\)\. Give dicts of tensors"
    with pytest.raises(UnsupportedError, match=message):
        capture(kind(), X)
    named = {"x": X} if kind is Keyword else {"x": X, "y": torch.zeros(2, 4, 8, 8)}
    assert capture(kind(), named).signature.names == tuple(named)


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: torch.jit.script(net()), "the model"),
        (lambda: torch.jit.trace(net(), X), "the model"),
        (lambda: Inside(torch.jit.script), "Inside's body"),
    ],
    ids=["scripted", "traced", "a part"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_with_the_fix(make, where):
    message = rf"^{where} is TorchScript, .* Give the nn\.Module that it was scripted or traced"
    with pytest.raises(UnsupportedError, match=message):
        capture(make(), X)


def test_lazy_layers_are_refused_until_the_model_ran_once():
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU())
    with pytest.raises(InvalidInputError, match=r"0\.weight is not init.* Call model\(x\) once"):
        calibrate(model, X)
    model(X)
    assert calibrate(model, X)(X).shape == (2, 8, 6, 6)


def test_a_model_without_values_is_refused():
    with pytest.raises(InvalidInputError, match=r"0\.weight is on the meta device"):
        capture(net().to("meta"), X)


def test_hooks_on_a_wrapper_are_not_lost_in_silence():
    wrapped = nn.DataParallel(net())
    wrapped.register_forward_hook(lambda module, args, output: output * 2)
    with pytest.raises(UnsupportedError, match=r"^DataParallel has .*Give .*\(model\.module\)"):
        capture(wrapped, X)
    wrapped.module.register_forward_hook(lambda module, args, output: output * 2)
    with torch.no_grad():
        torch.testing.assert_close(capture(wrapped.module, X).module(X), 2 * net()(X))


def test_shards_are_refused_with_the_fix():
    sharded = type("FullyShardedDataParallel", (nn.Sequential,), {})(conv())
    with pytest.raises(UnsupportedError, match=r"in shards .* Load its full state dict into"):
        capture(sharded, X)


def test_the_tensor_that_forbids_a_copy_is_named():
    model = net()
    model[2].cache = model[2].weight * 2
    with pytest.raises(UnsupportedError, match=r"Its 2\.cache has .*: store 2\.cache\.detach\(\)"):
        capture(model, X)
    model[2].cache = model[2].cache.detach()
    assert capture(model, X).input_shape == (3, 8, 8)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_is_written_as_if_it_were_not(name, tmp_path):
    wrapped = export_float(WRAPPERS[name](net()), (3, 8, 8), tmp_path / "wrapped.onnx")
    plain = export_float(net(), (3, 8, 8), tmp_path / "plain.onnx")
    assert wrapped.read_bytes() == plain.read_bytes()
