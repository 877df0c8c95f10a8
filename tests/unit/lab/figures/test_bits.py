"""Figures of bits: every row is drawn where it belongs."""

import pandas as pd
import pytest

from qutils.errors import InvalidInputError
from qutils.lab.figures import accuracy_by_part, accuracy_vs_mix, ptq_to_qat, sensitivity_by_layer


def by_part() -> pd.DataFrame:
    rows = [
        {"model": model, "part": part, "bits": bits, "top1": 10.0 * bits, "fp32": 90.0}
        for model in ("resnet8", "mobilenetv2")
        for part in ("weights", "activations", "both")
        for bits in (8, 2, 4)
    ]
    df = pd.DataFrame(rows)
    return df.assign(low=df["top1"] - 5, high=df["top1"] + 5)


def test_a_panel_for_each_model_and_a_line_for_each_part():
    figure = accuracy_by_part(by_part())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ResNet-8", "MobileNetV2"]
    for axes in figure.axes:
        assert len(axes.containers) == 3
        for container in axes.containers:
            line = container.lines[0]
            assert list(line.get_ydata()) == [20.0, 40.0, 80.0]  # sorted by bits
    assert "[%]" in figure.axes[0].get_ylabel()


def test_layers_stand_in_order_and_the_most_harmful_is_bold():
    df = pd.DataFrame(
        {
            "layer": ["input", "stem", "stem", "fc"],
            "part": ["activation", "weights", "activation", "weights"],
            "sqnr_db": [50.0, 6.0, 40.0, 20.0],
        }
    )
    (axes,) = sensitivity_by_layer(df).axes
    labels = axes.get_yticklabels()
    assert [t.get_text() for t in labels] == ["input", "stem", "fc"]
    assert [t.get_text() for t in labels if t.get_weight() == "bold"] == ["stem"]
    drawn = {(x, y) for line in axes.lines for x, y in zip(*line.get_data(), strict=True)}
    assert drawn == {(50.0, 0), (6.0, 1), (40.0, 1), (20.0, 2)}
    assert axes.yaxis_inverted()


def test_a_line_for_each_order_beside_fp32():
    df = pd.DataFrame(
        {"order": ["a", "a", "b"], "size_kib": [1.0, 2.0, 1.0], "top1": [50.0, 60.0, 40.0]}
    )
    (axes,) = accuracy_vs_mix(df, fp32=90.0).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"FP32": [90.0, 90.0], "a": [50.0, 60.0], "b": [40.0]}


def test_every_seed_is_a_line_from_ptq_to_qat():
    rows = [
        {"setting": setting, "method": method, "seed": seed, "top1": top1 + seed}
        for setting, pair in {"W2A8": (20.0, 80.0), "W8A8": (90.0, 89.0)}.items()
        for method, top1 in zip(("ptq", "qat"), pair, strict=True)
        for seed in (0, 1)
    ]
    left, right = ptq_to_qat(pd.DataFrame(rows), fp32=90.0).axes
    seeds = [line.get_ydata() for line in left.lines if list(line.get_xdata()) == [0, 1]]
    assert [list(y) for y in seeds if len(y) == 2 and y[0] != 90.0] == [[20.0, 80.0], [21.0, 81.0]]
    assert right.get_ylim()[0] > 80  # its own axis
    assert [t.get_text() for t in left.get_xticklabels()] == ["PTQ", "QAT"]


@pytest.mark.parametrize(
    "draw",
    [
        accuracy_by_part,
        sensitivity_by_layer,
        lambda df: accuracy_vs_mix(df, 90.0),
        lambda df: ptq_to_qat(df, 90.0),
    ],
)
def test_missing_columns_are_named(draw):
    with pytest.raises(InvalidInputError, match="column"):
        draw(pd.DataFrame({"bits": [1]}))
