"""Sequences of any length, recurrent states and scalars: from calibration to the file."""

from __future__ import annotations

from functools import cache

import onnx
import pytest
import torch
from torch import Tensor, nn

from qutils.backends.export import export
from qutils.backends.runtimes import RUNTIMES, load
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.axes import layout
from qutils.graph.signature import arrays_of
from qutils.integer import IntegerReference
from qutils.quantize.calibration import calibrate
from qutils.quantize.checkpoint import load as load_checkpoint
from qutils.quantize.checkpoint import save
from qutils.quantize.simulate import SimulatedModel

POSITIONS, WORDS = 12, 20


class Encoder(nn.Module):
    """Embeddings of words and positions, attention under a mask, a score."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 16), nn.Embedding(POSITIONS, 16)
        self.norm, self.qkv = nn.LayerNorm(16), nn.Linear(16, 48)
        self.out, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        n, length = ids.shape
        x = self.norm(self.words(ids) + self.places(torch.arange(length)))
        q, k, v = self.qkv(x).view(n, length, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(mask[:, None, None] == 0, -1e4)
        x = x + self.out((weights.softmax(-1) @ v).transpose(1, 2).reshape(n, length, 16))
        return self.head((x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True))


class Step(nn.Module):
    """One step of a recurrent network: samples, a state ``[2, N, C]`` and a sample rate in."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.cell, self.out = nn.Linear(8, 8), nn.LSTMCell(8, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor, state: Tensor, rate: Tensor) -> dict[str, Tensor]:
        seen = self.see(x).relu() * (rate / 16000)
        h, c = self.cell(seen, (state[0], state[1]))
        return {"speech": torch.sigmoid(self.out(h)), "state": torch.stack([h, c])}


def texts(n: int, length: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, length + 1, (n, 1), generator=generator)
    lengths[0] = length
    ids = torch.randint(0, WORDS, (n, length), generator=generator)
    return {"ids": ids, "mask": (torch.arange(length) < lengths).float()}


def steps(model: nn.Module, n: int, count: int):
    """Steps of a sequence, each from the state that the one before left."""
    generator, state = torch.Generator().manual_seed(0), torch.zeros(2, n, 6)
    for _ in range(count):
        x = torch.randn(n, 8, generator=generator)
        batch = {"x": x, "state": state, "rate": torch.tensor(16000)}
        yield batch
        with torch.no_grad():
            state = model(**batch)["state"]


@cache
def encoder() -> tuple[nn.Module, SimulatedModel]:
    torch.manual_seed(0)
    model = Encoder().eval()
    return model, calibrate(model, [texts(8, length, length) for length in (5, 7, 6, 9)])


@cache
def stepper() -> tuple[nn.Module, SimulatedModel]:
    torch.manual_seed(0)
    model = Step().eval()
    return model, calibrate(model, steps(model, 5, 6))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return {
        "encoder": export(encoder()[1], folder / "encoder.onnx"),
        "stepper": export(stepper()[1], folder / "stepper.onnx"),
    }


def sqnr(wanted: Tensor, got: Tensor) -> float:
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


def test_axes_that_differ_between_batches_are_open():
    signature = encoder()[1].captured.signature
    assert str(signature) == "ids [N, sequence] int64, mask [N, sequence] float32"
    (axis,) = signature.open_axes
    assert (axis.name, axis.most) == ("sequence", POSITIONS)


@pytest.mark.parametrize("length", [2, 6, POSITIONS])
def test_any_length_runs_in_simulation_reference_and_file(length, files):
    model, sim = encoder()
    x = texts(4, length)
    got = torch.from_numpy(load(files["encoder"]).run(arrays_of(x)))
    assert sqnr(model(**x).detach(), sim(x).detach()) > 25
    assert sqnr(sim(x).detach(), got) > 60
    assert sqnr(IntegerReference(sim)(x), got) > 60


def test_padding_changes_nothing(files):
    sim, runtime = encoder()[1], load(files["encoder"])
    x = texts(6, 9)
    simulated, got = sim(x).detach(), runtime.run(arrays_of(x))
    for i, length in enumerate(x["mask"].sum(1).int().tolist()):
        alone = {name: values[i : i + 1, :length] for name, values in x.items()}
        assert torch.allclose(sim(alone)[0].detach(), simulated[i], atol=1e-5)
        assert torch.allclose(
            torch.from_numpy(runtime.run(arrays_of(alone))[0]), torch.from_numpy(got[i]), atol=1e-5
        )


def test_the_file_names_its_open_axes(files):
    declared = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for graph in [onnx.load(files["encoder"]).graph]
        for value in (*graph.input, *graph.output)
    }
    assert declared == {"ids": ["N", "sequence"], "mask": ["N", "sequence"], "output": ["N", 3]}


def test_a_checkpoint_keeps_open_axes(tmp_path):
    sim = encoder()[1]
    again = load_checkpoint(save(sim, tmp_path / "net.safetensors"), Encoder())
    assert again.captured.signature == sim.captured.signature
    assert torch.equal(again(texts(3, 11)), sim(texts(3, 11)))


def test_axes_are_opened_by_name():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    named = {2: "height", 3: "width"}
    sim = calibrate(model, torch.randn(4, 3, 8, 8), dynamic={"input": named})
    assert str(sim.captured.signature) == "input [N, 3, height, width] float32"
    assert sim(torch.randn(2, 3, 12, 9)).shape == (2, 4)
    with pytest.raises(InvalidInputError, match="To take several sizes, calibrate with dynamic="):
        calibrate(model, torch.randn(4, 3, 8, 8))(torch.randn(2, 3, 8, 9))


def test_a_state_is_carried_from_call_to_call(files):
    model, sim = stepper()
    runtime = load(files["stepper"])
    assert runtime.inputs == {"x": ("N", 8), "state": (2, "N", 6), "rate": ()}
    assert runtime.outputs == ("speech", "state_out")
    state = torch.zeros(2, 3, 6)
    for batch in steps(model, 3, 5):
        given = {**batch, "state": state}
        got = {name: torch.from_numpy(y) for name, y in runtime.run(arrays_of(given)).items()}
        simulated = sim(given)
        for name in got:
            assert sqnr(simulated[name].detach(), got[name]) > 60
        assert sqnr(model(**batch)["speech"].detach(), got["speech"]) > 25
        state = got["state_out"]


def test_samples_of_a_state_are_cut_along_their_own_axis():
    model = Step().eval()
    whole = {"x": torch.randn(70, 8), "state": torch.randn(2, 70, 6), "rate": torch.tensor(8000)}
    sim = calibrate(model, whole)
    parts = [
        {"x": whole["x"][i : i + 64], "state": whole["state"][:, i : i + 64], "rate": whole["rate"]}
        for i in (0, 64)
    ]
    for one, other in zip(
        sim.quantizers.values(), calibrate(model, parts).quantizers.values(), strict=True
    ):
        assert torch.equal(one.scale, other.scale)
    assert IntegerReference(sim)(whole)["state_out"].shape == (2, 70, 6)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            {**texts(2, 5), "ids": texts(2, 5)["ids"] + WORDS},
            r"Expected ids from 0 to 19, as words has 20 rows, got \d+. Use the vocabulary that "
            "the model was trained with.",
        ),
        (
            texts(2, POSITIONS + 1),
            "Expected a size of at most 12 for the axis 'sequence', got ids 13, mask 13. Cut or "
            "split longer inputs.",
        ),
        (
            {**texts(2, 5), "mask": torch.ones(2, 4)},
            "Inputs of one batch hold different sizes of the axis 'sequence': ids 5, mask 4. Give "
            "as many of each.",
        ),
        (
            {"ids": texts(2, 5)["ids"]},
            r"The model takes ids \[N, sequence\] int64, mask \[N, sequence\] float32, got ids: "
            "mask missing. Give the named inputs and no others.",
        ),
        (
            {**texts(2, 5), "ids": texts(2, 5)["ids"].int()},
            r"Expected ids \[N, sequence\] int64, got torch.int32. Convert it: ids.to\(torch.int64"
            r"\).",
        ),
    ],
    ids=["vocabulary", "too-long", "lengths", "missing", "dtype"],
)
def test_texts_that_do_not_fit(batch, message):
    with pytest.raises(InvalidInputError, match=f"^{message}$"):
        encoder()[1](batch)


def test_a_state_without_value_is_named():
    batch = next(steps(Step(), 2, 1))
    del batch["state"]
    with pytest.raises(
        InvalidInputError,
        match=r"^The model takes x \[N, 8\] float32, state \[2, N, 6\] float32, rate \[\] int64, "
        r"got x, rate: state missing. Give the named inputs and no others.$",
    ):
        stepper()[1](batch)
    with pytest.raises(InvalidInputError, match="does not take x, rate: state missing. Name the"):
        calibrate(Step(), [batch])


def test_a_runtime_refuses_words_that_it_does_not_know(files):
    x = texts(2, 5)
    with pytest.raises(InvalidInputError, match=f"takes 'ids' from 0 to {WORDS - 1}, got "):
        load(files["encoder"]).run(arrays_of({**x, "ids": x["ids"] + WORDS}))


class Fixed(nn.Module):
    """Computes with a batch of two."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layer(x.view(2, -1, 4)).mean(1) + y


FIXED = {"x": torch.randn(2, 8), "y": torch.randn(2, 2)}


def test_a_batch_that_the_model_fixes_is_named_and_can_stay_fixed():
    with pytest.raises(UnsupportedError, match=r"The batch of 'x' cannot be open: .*\{0: None\}"):
        calibrate(Fixed(), FIXED)
    sim = calibrate(Fixed(), FIXED, dynamic={"x": {0: None}, "y": {0: None}})
    assert str(sim.captured.signature) == "x [2, 8] float32, y [2, 2] float32"
    with pytest.raises(UnsupportedError, match=r"The axis 1 of 'x' \(length\) cannot be open"):

        class Short(Fixed):
            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                return self.layer(x.view(x.shape[0], 2, 4)).mean(1) + y

        calibrate(Short(), FIXED, dynamic={"x": {1: "length"}})


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ({"z": {1: "n"}}, "dynamic names the input 'z'; the inputs are x, y. Correct the name."),
        (
            {"x": {2: "n"}},
            r"dynamic names axis 2 of 'x', which has 2 axes \[2, 8\]. Count them from 0.",
        ),
        ({"x": {1: "a b"}}, "Expected a name for axis 1 of 'x', got 'a b'. Give letters, digits"),
        ({"x": 1}, "Expected names by axis for 'x', got 1. Give dynamic="),
    ],
    ids=["input", "axis", "name", "number"],
)
def test_axes_that_do_not_exist(dynamic, message):
    with pytest.raises(InvalidInputError, match=message):
        layout([FIXED], dynamic)


def test_a_batch_axis_that_cannot_be_told_is_asked_for():
    with pytest.raises(
        InvalidInputError,
        match=r"different numbers of samples: x \[4, 8\], y \[3, 2\]. .* say which: "
        r"dynamic=\{'y': \{1: 'batch'\}\} \(\{0: None\} if it has none\).",
    ):
        layout([{"x": torch.zeros(4, 8), "y": torch.zeros(3, 2)}])


def test_axes_that_vary_alike_share_a_name():
    def batch(height: int, width: int, length: int) -> dict[str, Tensor]:
        image = torch.zeros(2, 3, height, width)
        return {"image": image, "ids": torch.zeros(2, length), "mask": torch.zeros(2, length)}

    found = layout([batch(8, 9, 5), batch(6, 7, 5), batch(6, 9, 4)]).names
    assert found["image"] == {2: "height", 3: "width"}
    assert found["ids"] == found["mask"] == {1: "sequence"}


@pytest.mark.slow(reason="a whole network of a library; the core runs its parts")
def test_a_tiny_bert(tmp_path):
    try:
        import transformers

        make = transformers.BertForSequenceClassification
    except (ImportError, RuntimeError) as error:  # transformers imports what is broken beside it
        pytest.skip(f"transformers does not import: {error}")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    model = make(config).eval()
    batches = [
        {"input_ids": torch.randint(0, 50, (4, n)), "attention_mask": torch.ones(4, n).long()}
        for n in (5, 8)
    ]
    sim = calibrate(model, batches)
    x = {"input_ids": torch.randint(0, 50, (2, 20)), "attention_mask": torch.ones(2, 20).long()}
    got = torch.from_numpy(load(export(sim, tmp_path / "bert.onnx")).run(arrays_of(x)))
    assert sim.captured.signature.open_axes[0].most == 24
    assert sqnr(sim(x).detach(), got) > 60
    assert sqnr(model(**x).logits.detach(), got) > 20


class Counted(nn.Module):
    """Numbers positions by the mask, as RoBERTa does: the length is seen in values alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 4), nn.Embedding(6, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.words(ids) + self.places(mask.long().cumsum(1))).mean(1)


def test_an_index_outside_of_any_embedding_is_named():
    batches = [texts(4, 4), texts(4, 5)]
    sim = calibrate(Counted(), batches)
    message = (
        "^Expected indices from 0 to 5 for places, an embedding of 6 rows, got 8. Use the "
        "vocabulary that the model was trained with, and inputs that are no longer than it takes.$"
    )
    for run in (
        lambda: sim(texts(4, 8)),
        lambda: calibrate(Counted(), [*batches, texts(4, 8)]),
        lambda: calibrate(Counted(), [texts(4, 8), *batches]),
    ):
        with pytest.raises(InvalidInputError, match=message):
            run()
    unknown = {**texts(4, 5), "ids": texts(4, 5)["ids"] + WORDS}
    with pytest.raises(InvalidInputError, match="from 0 to 19 for words, an embedding of 20 rows"):
        calibrate(Counted(), [unknown])


@pytest.mark.slow(reason="a second backend; the core runs the same in ONNX Runtime")
def test_openvino_takes_states_scalars_and_any_length(tmp_path):
    if not RUNTIMES["openvino"].installed:
        pytest.skip("openvino is not installed")
    model = stepper()[0]
    sim = calibrate(model, steps(model, 5, 3), target="openvino")
    batch = next(steps(model, 3, 1))
    got = load(export(sim, tmp_path / "step.onnx"), "openvino").run(arrays_of(batch))
    assert sqnr(sim(batch)["state_out"].detach(), torch.from_numpy(got["state_out"])) > 60
    sim = calibrate(encoder()[0], [texts(8, 5), texts(8, 8)], target="openvino")
    got = load(export(sim, tmp_path / "text.onnx"), "openvino").run(arrays_of(texts(3, 11)))
    assert sqnr(sim(texts(3, 11)).detach(), torch.from_numpy(got)) > 60
