from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qutils.backends.runtimes import load
from qutils.errors import InvalidInputError
from qutils.evaluate.bench import agreement, evaluate, predict_with, predictions
from qutils.evaluate.bench.accuracy import wilson

EYE = np.eye(4, dtype=np.float32)


def identity(batch):
    return batch


def test_top1_over_unequal_batches():
    found = evaluate(identity, [(EYE[:3], np.array([0, 1, 0])), (EYE[3:], np.array([3]))])
    assert (found.top1, found.n) == (75.0, 4)
    assert found.interval[0] < 75 < found.interval[1]
    assert str(found).startswith("75.00 % (95 % interval")


def test_torch_and_runtime_are_scored_alike(files):
    """The module built from the file's own weights scores what the file scores."""
    import onnx

    tensors = {
        t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(files.fp32).graph.initializer
    }
    conv, linear = nn.Conv2d(1, 32, 3, padding=1), nn.Linear(32, 10)
    for layer, weight, bias in ((conv, "w1", "b1"), (linear, "w2", "b2")):
        layer.weight.data = torch.tensor(tensors[weight])
        layer.bias.data = torch.tensor(tensors[bias])
    pool = nn.AdaptiveAvgPool2d(1)
    module = nn.Sequential(conv, nn.ReLU(), pool, nn.Flatten(), linear).eval()
    x = np.random.default_rng(0).random((64, 1, 8, 8), np.float32)
    ours = predictions(predict_with(module), [x[:40], x[40:]])
    theirs = predictions(load(files.fp32).run, [x])
    assert agreement(ours, theirs) == 100
    assert evaluate(load(files.fp32).run, [(x, ours)]).top1 == 100
    assert evaluate(load(files.int8).run, [(x, ours)]).n == 64


def test_predictions_take_torch_batches():
    np.testing.assert_array_equal(predictions(identity, [torch.eye(4)]), [0, 1, 2, 3])


def test_predict_with_leaves_no_gradient_and_refuses_training():
    module = nn.Linear(4, 4)
    with pytest.raises(InvalidInputError, match=r"module\.eval\(\)"):
        predict_with(module)(EYE)
    assert predict_with(module.eval())(EYE).shape == (4, 4)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "empty"),
        ([(EYE, np.arange(3))], r"4 pictures come with labels of shape \[3\]"),
        ([(EYE, EYE)], "labels of shape"),
        ([(EYE * np.nan, np.arange(4))], "NaN"),
        ([(np.zeros((4, 2, 2), np.float32), np.arange(4))], r"expected \[4, classes\]"),
    ],
    ids=["none", "too-few-labels", "one-hot", "nan", "rank"],
)
def test_bad_batches(batches, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate(identity, batches)


def test_no_predictions():
    with pytest.raises(InvalidInputError, match="empty"):
        predictions(identity, [])


def test_logits_of_another_batch():
    with pytest.raises(InvalidInputError, match=r"expected \[4, classes\]"):
        predictions(lambda batch: batch[:2], [EYE])


@pytest.mark.parametrize("lengths", [(3, 4), (0, 0)])
def test_agreement_needs_equal_lengths(lengths):
    with pytest.raises(InvalidInputError, match="cannot be compared"):
        agreement(*(np.zeros(n, np.int64) for n in lengths))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (9300, 10_000)])
def test_wilson_solves_its_equation(hits, n):
    """Both ends satisfy ``(p - hits/n)^2 = z^2 * p * (1 - p) / n``."""
    for end in wilson(hits, n):
        p = end / 100
        assert (p - hits / n) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / n, abs=1e-12)
