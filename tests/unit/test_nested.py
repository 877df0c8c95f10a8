"""Inputs in tuples, lists and dicts, from calibration to the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import qutils as q
from qutils.evaluate.analysis.sqnr import sqnr_db


class Steps(nn.Module):
    """One step of a recurrent network, whose state is a tuple, with a switch that stays off."""

    def __init__(self):
        super().__init__()
        self.enter, self.layer, self.leave = nn.Linear(6, 8), nn.LSTM(8, 5), nn.Linear(5, 3)

    def forward(self, x, state, extra=None):
        shift = 0 if extra is None else extra["shift"]
        y, (h, c) = self.layer(self.enter(x + shift)[None], state)
        return {"y": self.leave(y[0]), "state": (h, c)}


def batch(samples: int, seed: int = 0, **more):
    torch.manual_seed(seed)
    h, c = 2 * torch.rand(2, 1, samples, 5) - 1
    return {"x": torch.randn(samples, 6), "state": (h, c), **more}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Steps().eval()


@pytest.fixture(scope="module")
def sim(model):
    return q.calibrate(model, [batch(64, 1), batch(64, 2)])


def test_a_tuple_goes_by_place(model, sim):
    assert sim.captured.signature.names == ("x", "state_0", "state_1")
    assert [spec.batch_axis for spec in sim.captured.signature.inputs] == [0, 1, 1]
    given = batch(7)
    with torch.no_grad():
        wanted, got = model(**given), sim(given)
    assert list(got) == ["y", "state.0", "state.1"]
    assert sqnr_db(wanted["y"], got["y"]) > 25
    assert sqnr_db(wanted["state"][1], got["state.1"]) > 25
    flat = {"x": given["x"], "state_0": given["state"][0], "state_1": given["state"][1]}
    assert torch.equal(sim(**flat)["y"], got["y"])


def test_the_file_takes_the_same_tensors(sim, tmp_path):
    runtime = q.runtimes.load(q.export(sim, tmp_path / "net.onnx"))
    given = batch(4)
    named = {"x": given["x"], "state_0": given["state"][0], "state_1": given["state"][1]}
    got = runtime.run({name: x.numpy() for name, x in named.items()})
    np.testing.assert_allclose(got["y"], sim(given)["y"].detach(), atol=1e-5)
    nested = {"x": given["x"].numpy(), "state": tuple(x.numpy() for x in given["state"])}
    np.testing.assert_array_equal(runtime.run(nested)["y"], got["y"])


def test_a_checkpoint_opens_with_nested_inputs(model, sim, tmp_path):
    from qutils.quantize import checkpoint

    file = checkpoint.save(sim, tmp_path / "net.safetensors")
    again = q.load(file, model)
    assert torch.equal(again(batch(3))["y"], sim(batch(3))["y"])


def test_all_samples_at_once_and_a_dict_inside(model):
    given = batch(70, extra={"shift": torch.randn(70, 6)})  # more than a chunk
    sim = q.calibrate(model, given)
    assert sim.captured.signature.names == ("x", "state_0", "state_1", "extra_shift")
    assert sqnr_db(model(**given)["y"], sim(given)["y"]) > 25


def test_what_is_left_out_keeps_its_default(model, sim):
    assert torch.equal(sim(batch(3, extra=None))["y"], sim(batch(3))["y"])


def test_training_takes_nested_batches(model, sim):
    def loss(y, labels):
        return nn.functional.cross_entropy(y["y"], labels)

    data = [(batch(8, seed), torch.randint(0, 3, (8,))) for seed in range(3)]
    tuned = q.qat.finetune(sim, data, epochs=1, loss=loss)
    assert not torch.equal(tuned(batch(3))["y"], sim(batch(3))["y"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": torch.zeros(2, 6), "state": "none"}, "holds a str under 'state'"),
        ({"x": torch.zeros(2, 6), "state": (torch.zeros(1, 2, 5), 3.0)}, "float under 'state_1'"),
        (batch(2, state_0=torch.zeros(2)), "Two inputs are called 'state_0'"),
    ],
)
def test_what_is_no_tensor_is_named(model, given, said):
    with pytest.raises(q.InvalidInputError, match=said):
        q.calibrate(model, [given])


def test_a_missing_tensor_is_named(sim):
    given = batch(2)
    with pytest.raises(q.InvalidInputError, match="state_1 missing"):
        sim({"x": given["x"], "state": given["state"][:1]})


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, x, state=None):
        y = self.layer(x)
        return y if state is None else y + state["H"] * state["c-1"]


def test_none_is_an_argument_without_a_value():
    torch.manual_seed(0)
    model, x = Optional().eval(), torch.randn(32, 6)
    sim = q.calibrate(model, {"x": x, "state": None})
    assert sim.captured.signature.names == ("x",)
    assert sqnr_db(model(x), sim({"x": x, "state": None})) > 30


def test_keys_that_are_no_identifiers():
    torch.manual_seed(0)
    model, x = Optional().eval(), torch.randn(32, 6)
    state = {"H": torch.rand(32, 4), "c-1": torch.rand(32, 4)}
    sim = q.calibrate(model, {"x": x, "state": state})
    assert sim.captured.signature.names == ("x", "state_H", "state_c-1")
    assert sqnr_db(model(x, state), sim({"x": x, "state": state})) > 30


@pytest.mark.parametrize(
    "more",
    [{"x_len": torch.ones(4)}, {"state_0": 1.0 * torch.ones(4, 4), "state_2": torch.ones(4, 4)}],
)
def test_names_that_belong_to_no_argument_are_refused(more):
    said = (
        f"{', '.join(more)} (is not an input|are not inputs) of Optional.forward\\(x, state=None\\)"
    )
    with pytest.raises(q.InvalidInputError, match=f"^{said}. Leave (it|them) out"):
        q.calibrate(Optional().eval(), {"x": torch.randn(4, 6), **more})


def test_tensors_in_order(sim):
    given = batch(3)
    assert torch.equal(sim(given["x"], given["state"])["y"], sim(given)["y"])
    with pytest.raises(q.InvalidInputError, match="got 2 tensors in order"):
        sim(given["x"], given["state"][:1])


class Difference(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, y):
        return self.first(x) - 3 * self.second(y)


def test_tensors_in_order_are_in_the_order_of_forward():
    torch.manual_seed(0)
    model, x, y = Difference().eval(), torch.randn(64, 4), torch.randn(64, 4)
    sim = q.calibrate(model, {"y": y, "x": x})
    assert sim.captured.signature.names == ("x", "y")
    assert sqnr_db(model(x, y), sim(x, y)) > 25


def test_axes_of_a_container_are_those_of_its_tensors(model):
    sim = q.calibrate(model, [batch(64)], dynamic={"state": {1: "batch"}})
    assert [spec.batch_axis for spec in sim.captured.signature.inputs] == [0, 1, 1]
    named = {"ids_a": torch.zeros(2, 3), "ids_b": torch.zeros(2, 3)}
    with pytest.raises(q.InvalidInputError, match="dynamic names the input 'ids'"):
        q.calibrate(Difference().eval(), [named], dynamic={"ids": {1: "words"}})
