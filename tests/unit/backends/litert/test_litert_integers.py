"""Files for LiteRT of networks that read integers: token ids, masks, comparisons."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qutils.backends.export import export
from qutils.backends.runtimes import load
from qutils.detection.torchvision import torchvision
from qutils.errors import InvalidInputError, UnsupportedError
from qutils.graph.signature import arrays_of
from qutils.quantize.calibration import calibrate

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

TOKENS, WIDTH, WORDS = 6, 8, 20
Batch = dict[str, Tensor]


class Reader(nn.Module):
    """Attention over tokens, those that the mask leaves out unseen, after ``masked``."""

    def __init__(self, masked: str) -> None:
        super().__init__()
        self.masked = masked
        self.words, self.kinds = nn.Embedding(WORDS, WIDTH), nn.Embedding(2, WIDTH)
        self.register_buffer("kind", torch.zeros(1, TOKENS, dtype=torch.long))
        self.mix, self.score = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.words(ids) + self.kinds(self.kind.expand(ids.shape[0], -1))
        y = self.mix(x)
        if self.masked == "where":
            unseen = ~((mask > 0) & (ids != 3)) | (y.mean(-1) > 1)
            return self.score(torch.where(unseen[..., None], torch.zeros(()), y).mean(1))
        if self.masked == "product":
            return self.score((y * mask.unsqueeze(-1)).mean(1))
        seen = mask[:, None, :].bool()
        scores = (y @ y.transpose(1, 2)).masked_fill(~seen, float("-inf"))
        return self.score((F.softmax(scores, -1) @ y).mean(1))


def sentences(dtype: torch.dtype = torch.int64) -> Batch:
    mask = torch.ones(8, TOKENS, dtype=dtype)
    mask[1, 3:] = mask[5, 2:] = 0
    return {"ids": torch.randint(0, WORDS, (8, TOKENS), dtype=dtype), "mask": mask}


def decibels(wanted: Tensor, got: Tensor) -> float:
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


@torch.no_grad()
def margin(model: nn.Module, data: Batch, path: Path) -> float:
    """How far, in dB, the file's distance from the simulation lies below the quantization error."""
    sim = calibrate(model, data, target="litert")
    runtime = load(export(sim, path), "litert")
    simulated, got = sim(data), torch.from_numpy(runtime.run(arrays_of(data)))
    single = runtime.run({name: x.numpy()[:1] for name, x in data.items()})
    np.testing.assert_allclose(single, got[:1], atol=1e-6)
    return decibels(simulated, got) - decibels(model(**data), simulated)


@pytest.mark.parametrize("masked", ["where", "product", "attention"])
def test_token_ids_and_masks_compute_as_simulated(masked, tmp_path):
    torch.manual_seed(0)
    assert margin(Reader(masked).eval(), sentences(), tmp_path / "net.tflite") > 10


def test_ids_of_32_bits_stay_so(tmp_path):
    torch.manual_seed(0)
    data = sentences(torch.int32)
    assert margin(Reader("where").eval(), data, tmp_path / "net.tflite") > 10
    runtime = load(tmp_path / "net.tflite", "litert")
    assert {str(dtype) for _, dtype in runtime.declared.values()} == {"int32"}
    assert runtime.kernels()["GATHER float32"] == 2
    with pytest.raises(InvalidInputError, match="gather index out of bounds"):
        runtime.run(arrays_of({**data, "ids": data["ids"] + WORDS}))


def test_bert_computes_as_simulated(tmp_path):
    if find_spec("torchvision"):
        torchvision()  # which transformers imports
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=TOKENS,
    )
    bert = transformers.BertModel(config).eval()
    given = sentences()
    data = {"input_ids": given["ids"], "attention_mask": given["mask"]}

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.bert(input_ids, attention_mask).last_hidden_state

    assert margin(Pooled().eval(), data, tmp_path / "net.tflite") > 10


def test_integers_without_a_kernel_are_named_before_writing(tmp_path):
    class Summed(Reader):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return self.score(self.words(ids.cumsum(1) % WORDS).mean(1)) * mask[:, :1]

    sim = calibrate(Summed("").eval(), sentences(), target="litert")
    with pytest.raises(UnsupportedError, match="LiteRT cannot run aten.cumsum"):
        export(sim, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())
