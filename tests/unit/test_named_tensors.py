"""Networks with several inputs and outputs, integers among them, from capture to the file."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qutils.backends.export import export
from qutils.backends.runtimes import RUNTIMES, load
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.evaluate.bench import latency
from qutils.graph.signature import arrays_of
from qutils.integer import IntegerReference
from qutils.numerics.schemes import Recipe
from qutils.quantize.calibration import calibrate, observe
from qutils.quantize.checkpoint import load as load_checkpoint
from qutils.quantize.checkpoint import save
from qutils.quantize.ptq import bias_correction


class Reader(nn.Module):
    """Token ids and a mask in; a state of each token and a score out."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.mix, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.score = nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        states = self.norm(self.mix(self.words(ids))) * mask.unsqueeze(-1)
        return {"states": states, "nothing": None, "score": self.score(states.mean(1)) * scale}


class Fusion(nn.Module):
    """An image and a vector in, a tuple out."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.read = nn.Conv2d(3, 8, 3), nn.Linear(5, 8)
        self.head, self.gate = nn.Linear(8, 4), nn.Linear(8, 1)

    def forward(self, image: Tensor, extra: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        y = self.see(image).relu().mean((2, 3)) + self.read(extra)
        return self.head(y), {"gate": torch.sigmoid(self.gate(y))}


def sentences(n: int = 24) -> dict[str, Tensor]:
    torch.manual_seed(1)
    lengths = torch.randint(2, 7, (n, 1))
    return {"ids": torch.randint(0, 20, (n, 6)), "mask": (torch.arange(6) < lengths).float()}


def scenes(n: int = 24) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"extra": torch.randn(n, 5), "image": torch.randn(n, 3, 8, 8)}


@cache
def made(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    return {"reader": (Reader().eval(), sentences()), "fusion": (Fusion().eval(), scenes())}[name]


def sqnr(wanted: Tensor, got: Tensor) -> float:
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("reader", {"ids [N, 6] int64", "mask [N, 6] float32"}, ("states", "score")),
        (
            "fusion",
            {"image [N, 3, 8, 8] float32", "extra [N, 5] float32"},
            ("output_0", "output_1.gate"),
        ),
    ],
)
def test_signatures_name_what_goes_in_and_out(name, inputs, outputs):
    signature = observe(*made(name)).captured.signature
    assert {str(spec) for spec in signature.inputs} == inputs
    assert signature.outputs == outputs


@pytest.mark.parametrize("name", ["reader", "fusion"])
def test_the_file_computes_what_was_simulated(name, tmp_path):
    model, data = made(name)
    sim = calibrate(model, data)
    simulated, exact = sim(data), IntegerReference(sim)(data)
    runtime = load(export(sim, tmp_path / "net.onnx"))
    assert set(runtime.inputs) == set(data)
    got = runtime.run({key: value.numpy() for key, value in data.items()})
    assert tuple(got) == runtime.outputs == tuple(simulated) == tuple(exact)
    for key, values in got.items():
        assert sqnr(simulated[key].detach(), torch.from_numpy(values)) > 60
        assert sqnr(exact[key].detach(), torch.from_numpy(values)) > 60


def test_outputs_are_those_of_the_network():
    model, data = made("reader")
    sim = calibrate(model, data)
    wanted, got = model(**data), sim(**data)
    assert sqnr(wanted["states"].detach(), got["states"].detach()) > 30
    assert sqnr(wanted["score"].detach(), got["score"].detach()) > 25


def test_batches_and_one_dict_give_the_same():
    model, data = made("reader")
    cut = [{key: value[i : i + 5] for key, value in data.items()} for i in range(0, 24, 5)]
    whole, parts = calibrate(model, data), calibrate(model, cut)
    for one, other in zip(whole.quantizers.values(), parts.quantizers.values(), strict=True):
        assert torch.equal(one.scale, other.scale)


def test_any_batch_runs(tmp_path):
    model, data = made("fusion")
    runtime = load(export(calibrate(model, data), tmp_path / "net.onnx"))
    whole = runtime.run({key: value.numpy() for key, value in data.items()})
    part = runtime.run({key: value[:3].numpy() for key, value in data.items()})
    np.testing.assert_allclose(part["output_0"], whole["output_0"][:3], rtol=1e-5, atol=1e-6)


def test_biases_are_corrected():
    model, data = made("reader")
    sim = calibrate(model, data, Recipe.w8a8("minmax"))
    corrected = bias_correction(sim, data)
    shift = [(m(data)["score"] - model(**data)["score"]).mean(0).norm() for m in (sim, corrected)]
    assert shift[1] < shift[0]


def test_a_checkpoint_keeps_the_names(tmp_path):
    model, data = made("reader")
    sim = calibrate(model, data)
    again = load_checkpoint(save(sim, tmp_path / "net.safetensors"), Reader())
    assert again.captured.signature == sim.captured.signature
    assert torch.equal(again(data)["score"], sim(data)["score"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("mask"), "mask missing. Give the named inputs and no others."),
        (lambda d: d.update(other=d["mask"]), "other unknown. Give the named inputs"),
        (lambda d: d.update(ids=d["ids"][:, :5]), "shape [N, 6] for 'ids', got [24, 5]"),
        (lambda d: d.update(ids=d["ids"].int()), "Convert it: ids.to(torch.int64)."),
        (lambda d: d.update(mask=d["mask"][:3]), "different numbers of samples: ids 24, mask 3"),
        (lambda d: d.update(mask=d["mask"].double()), "float32 input, got torch.float64"),
    ],
    ids=["missing", "unknown", "shape", "integers", "unequal", "floats"],
)
def test_inputs_that_do_not_fit_are_named(change, message):
    model, data = made("reader")
    sim, data = calibrate(model, data), dict(data)
    change(data)
    with pytest.raises(InvalidInputError) as caught:
        sim(data)
    assert message in str(caught.value)


def test_a_runtime_names_what_it_takes(tmp_path):
    model, data = made("reader")
    runtime = load(export(calibrate(model, data), tmp_path / "net.onnx"))
    with pytest.raises(InvalidInputError, match="takes ids, mask, got one ndarray. Give a dict"):
        runtime.run(data["ids"].numpy())
    with pytest.raises(InvalidInputError, match="takes ids, mask, got ids. Give the named inputs"):
        runtime.run({"ids": data["ids"].numpy()})
    with pytest.raises(InvalidInputError, match="dtype int32, the model expects int64"):
        runtime.run({"ids": data["ids"].int().numpy(), "mask": data["mask"].numpy()})


SUFFIXES = {"openvino": "onnx", "litert": "tflite", "executorch": "pte", "inductor": "pt2"}


_LOWERED = pytest.mark.slow(reason="lowered or compiled for seconds")


@pytest.mark.parametrize(
    "target",
    ["openvino", "litert", *(pytest.param(t, marks=_LOWERED) for t in ("executorch", "inductor"))],
)
def test_other_runtimes_take_several_tensors_too(target, tmp_path):
    if not RUNTIMES[target].installed:
        pytest.skip(f"{target} is not installed")
    model, data = made("fusion")
    sim = calibrate(model, data, target=target)
    runtime = load(export(sim, tmp_path / f"net.{SUFFIXES[target]}"), target)
    few = {key: value[:5] for key, value in data.items()}
    simulated, got = sim(few), runtime.run(arrays_of(few))
    assert set(runtime.inputs) == set(data)
    assert tuple(got) == tuple(simulated)
    for key, values in got.items():
        assert sqnr(simulated[key].detach(), torch.from_numpy(values)) > 60
    with pytest.raises(InvalidInputError, match="takes image, extra, got extra. Give the named"):
        runtime.run({"extra": few["extra"].numpy()})


def test_token_ids_on_a_phone(tmp_path):
    if not RUNTIMES["executorch"].installed:
        pytest.skip("executorch is not installed")
    model, data = made("reader")
    sim = calibrate(model, data, target="executorch")
    got = load(export(sim, tmp_path / "net.pte"), "executorch").run(arrays_of(data))
    assert sqnr(sim(data)["score"].detach(), torch.from_numpy(got["score"])) > 60


@pytest.mark.parametrize(
    ("target", "name", "message"),
    [("tensorrt", "fusion", "Expected a network that maps one tensor of floats to one tensor")],
)
def test_what_a_target_cannot_take_is_refused_before_writing(target, name, message, tmp_path):
    model, data = made(name)
    sim = calibrate(model, data, target=target)
    with pytest.raises(UnsupportedError, match=message):
        export(sim, tmp_path / f"net.{'onnx' if target == 'tensorrt' else 'tflite'}")
    assert not list(tmp_path.iterdir())


def test_a_network_of_one_named_input_takes_tensors_too():
    model = nn.Sequential(nn.Linear(4, 3))
    x = torch.randn(8, 4)
    sim = calibrate(model, {"input": x})
    assert torch.equal(sim(x), sim({"input": x}))
    assert torch.equal(sim(x), calibrate(model, x)(x))


class Causal(nn.Module):
    """Attention whose mask is a buffer of zeros and -inf."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 18)
        self.out = nn.Linear(6, 6)
        self.register_buffer("mask", torch.full((5, 5), -torch.inf).triu(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(x).chunk(3, -1)
        return self.out(torch.softmax(q @ k.transpose(1, 2) + self.mask, -1) @ v)


def test_a_mask_of_minus_infinity_is_sound(tmp_path):
    torch.manual_seed(0)
    model, x = Causal().eval(), torch.randn(16, 5, 6)
    sim = calibrate(model, x)
    got = load(export(sim, tmp_path / "net.onnx")).run(x.numpy())
    assert sqnr(model(x).detach(), torch.from_numpy(got)) > 30


class Loose(nn.Module):
    """Takes a mask, and swallows whatever has another name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor, keep: Tensor | None = None, **options: Tensor) -> Tensor:
        return self.layer(x if keep is None else torch.where(keep, x, 0.0))


def test_a_name_that_only_kwargs_would_take_is_refused():
    x, keep = torch.randn(8, 6), torch.rand(8, 6) > 0.5
    with pytest.raises(InvalidInputError, match=r"forward has no argument kep, only \*\*kwargs"):
        calibrate(Loose(), {"x": x, "kep": keep})


def test_a_mask_of_booleans_and_an_input_called_x(tmp_path):
    torch.manual_seed(0)
    model, data = Loose().eval(), {"x": torch.randn(8, 6), "keep": torch.rand(8, 6) > 0.5}
    sim = calibrate(model, data)
    got = load(export(sim, tmp_path / "net.onnx")).run({k: v.numpy() for k, v in data.items()})
    assert sqnr(sim(**data).detach(), torch.from_numpy(got)) > 60
    with pytest.raises(InvalidInputError, match="one batch and keep besides. Give all inputs by"):
        sim(data["x"], keep=data["keep"])


def test_latency_of_several_inputs(tmp_path):
    model, data = made("reader")
    path = export(calibrate(model, data), tmp_path / "net.onnx")
    found = latency(path, {key: value[:3].numpy() for key, value in data.items()}, repeats=5)
    assert found.batch == 3
    with pytest.raises(UnsupportedError, match="takes ids, mask: one input was expected. Give a"):
        latency(path, 3, repeats=5)
