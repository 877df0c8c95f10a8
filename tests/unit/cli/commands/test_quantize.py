from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qutils import zoo
from qutils.backends import runtimes
from qutils.backends.runtimes import RUNTIMES
from qutils.backends.shared.onnx_file import read_onnx
from qutils.backends.shared.overflow import overflowing
from qutils.backends.tensorrt import rules as tensorrt_rules
from qutils.cli.commands import request
from qutils.cli.commands.material import read_material
from qutils.cli.commands.models import read_model
from qutils.errors import DataError, UnsupportedError
from qutils.evaluate import bench
from qutils.evaluate.explain.ops import weighted_layers
from qutils.quantize import checkpoint
from tests.unit.lab.runner.toy import snapshot

pytestmark = pytest.mark.usefixtures("folder")


def percent(line: str, text: str) -> float:
    found = re.search(rf"^{re.escape(line)}: ([\d.]+) ", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def test_own_model_becomes_an_integer_file(quantize):
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz", "--observer", "mse")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "nets.py:tiny: W8A8, per_channel weights, mse ranges of 32 inputs, PTQ" in text
    assert "weights: as nets.py:tiny makes them" in text
    assert "n = 8)" in text
    for way in ("FP32, float (torch)", "W8A8, simulated (torch)", "W8A8, integer (onnxruntime)"):
        percent(f"top-1 of {way}", text)
    assert percent("SQNR of the outputs, float to integer", text) > 20
    assert percent("same prediction, simulated and integer", text) == 100
    assert re.search(r"weights: FP32 192 bytes, INT8 48 bytes \(0.250\)", text)
    assert "QLinearConv" in text
    assert "The file computes what was simulated; file and simulation: " in text
    assert "Wrote old.onnx" in text
    assert "scoring" in result.stderr
    with np.load("data.npz") as data:  # the accuracy told is that of the file
        held = np.random.default_rng(0).permutation(40)[:8]
        logits = runtimes.load("old.onnx").run(data["inputs"][held])
        top1 = 100 * np.mean(logits.argmax(1) == data["labels"][held])
    assert percent("top-1 of W8A8, integer (onnxruntime)", text) == pytest.approx(top1)


def test_method_refines_and_the_head_line_says_so(quantize):
    words = ("nets.py:tiny", "--data", "data.npz", "--weight-bits", 2, "--simulate-only")
    plain, refined = (
        quantize(*words, "--method", name).stdout for name in ("ptq", "ptq-bias-correction")
    )
    assert "minmax ranges of 32 inputs, PTQ\n" in plain
    assert "minmax ranges of 32 inputs, PTQ with bias correction\n" in refined
    line = "SQNR of the outputs, float to simulated"
    assert percent(line, refined) > percent(line, plain)
    trained = quantize(*words, "--method", "ptq-bias-correction", "--qat-epochs", 1).stdout
    assert "QAT after bias correction, 1 epochs" in trained
    wrong = quantize(*words, "--method", "bias-correction")
    assert wrong.exit_code == 2
    assert "did you mean 'ptq-bias-correction'?" in wrong.stderr


def test_model_of_the_zoo_uses_its_own_data(monkeypatch, quantize):
    data = zoo.dataset("fashion_mnist")
    few = replace(data, calibration=data.calibration.take(32), test=data.test.take(64))
    monkeypatch.setitem(zoo.DATASETS, "fashion_mnist", lambda: few)
    result = quantize("resnet8", "--simulate-only")
    assert result.exit_code == 0, result.output
    assert "data: fashion_mnist (64 test pictures)" in result.stdout
    assert percent("top-1 of W8A8, simulated (torch)", result.stdout) > 80


def test_setting_without_kernels_is_simulated_and_says_so(folder, quantize):
    before = snapshot(folder)
    words = ("nets.py:instance", "--data", "data.npz", "--weight-bits", 4, "--simulate-only")
    result = quantize(*words)
    assert result.exit_code == 0, result.output
    percent("top-1 of W4A8, simulated (torch)", result.stdout)
    assert "integer (" not in result.stdout
    assert (
        "Nothing was exported. onnxruntime has no integer kernel for 4-bit weights" in result.stdout
    )
    assert {k: v for k, v in snapshot(folder).items() if "__pycache__" not in k} == before


@pytest.mark.parametrize(
    "options",
    [
        ["--weight-bits", 4],
        ["--activation-bits", 6],
        ["--affine"],
        ["--granularity", "per_group", "--group-size", 3],
    ],
    ids=str,
)
def test_setting_without_kernels_is_not_exported(options, quantize):
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz", *options)
    assert result.exit_code == 2
    assert "simulated, not exported" in result.output
    assert "--simulate-only" in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"


def test_training_with_labels_changes_the_model(quantize):
    common = ("nets.py:tiny", "--data", "data.npz", "--simulate-only")
    ptq, qat = quantize(*common), quantize(*common, "--qat-epochs", 2, "--seed", 1)
    assert qat.exit_code == 0, qat.output
    assert "QAT, 2 epochs" in qat.stdout
    line = "SQNR of the outputs, float to simulated"
    assert percent(line, qat.stdout) != percent(line, ptq.stdout)


def test_operator_without_kernel_is_kept_in_float(quantize):
    result = quantize("nets.py:Sine", "out.onnx", "--data", "data.npy")
    assert result.exit_code == 0, result.output
    assert "No integer kernel, kept in float: sin (sin).\n" in result.stdout
    assert "weights and biases" not in result.stdout  # it holds none
    assert "1 Sin" in result.stdout
    assert "top-1" not in result.stdout  # no labels


def test_the_weights_that_stay_in_float_are_counted(folder, quantize):
    np.savez("steps.npz", inputs=np.random.default_rng(0).normal(size=(20, 7, 8)).astype("f4"))
    words = ("nets.py:Recurrent", "--data", "steps.npz")
    refused = quantize(*words, "--strict", "--simulate-only")
    assert refused.exit_code == 1
    named = ", ".join(f"aten.{op} in module '{op}'" for op in ("lstm", "mean", "gelu"))
    assert f"operators {named} have no".replace("'gelu'", "'act'") in refused.output
    kept = quantize(*words[:1], "out.onnx", *words[1:])
    assert kept.exit_code == 0, kept.output
    held = 4 * 16 * (16 + 16) + 2 * 4 * 16
    total = held + 8 * 16 + 16 + 16 * 5 + 5
    named = "lstm (lstm), mean (mean), gelu (act)"
    assert f"No integer kernel, kept in float: {named}.\n" in kept.stdout
    line = f"hold {held:,} of {total:,} weights and biases ({held / total:.0%})."
    assert f"Operators in float {line}\n" in kept.stdout
    assert "Warning: Only " in kept.stdout
    assert f"weights: FP32 {4 * (held - 128 + 8 * 16 + 16 * 5):,} bytes" in kept.stdout


def test_what_was_simulated_is_kept_and_opened_again(folder, quantize):
    words = ("nets.py:tiny", "--data", "data.npz", "--weight-bits", 3, "--simulate-only")
    result = quantize(*words, "--save", "kept.safetensors")
    assert result.exit_code == 0, result.output
    assert "simulated model: kept.safetensors (qutils.load opens it)" in result.stdout
    sim = checkpoint.load(folder / "kept.safetensors", read_model("nets.py:tiny"))
    assert sim.recipe.label == "W3A8"
    held = read_material("data.npz", 512).test
    top1 = bench.evaluate(bench.predict_with(sim), [(held.x.numpy(), held.y.numpy())]).top1
    assert percent("top-1 of W3A8, simulated (torch)", result.stdout) == pytest.approx(top1)


def test_what_is_read_is_never_replaced(folder, quantize):
    weights = zoo.save(read_model("nets.py:tiny"), folder / "float.safetensors")
    before = weights.read_bytes()
    words = ("nets.py:tiny", "--data", "data.npz", "--simulate-only", "--weights", weights)
    result = quantize(*words, "--save", "float.safetensors")
    assert result.exit_code == 2
    assert "--save would replace float.safetensors, which is read" in result.output
    assert weights.read_bytes() == before


def test_a_simulated_model_given_as_weights_says_how_to_open_it(folder, quantize):
    words = ("nets.py:tiny", "--data", "data.npz", "--simulate-only")
    assert quantize(*words, "--save", "kept.safetensors").exit_code == 0
    result = quantize(*words, "--weights", "kept.safetensors")
    assert result.exit_code == 1
    assert "open it with qutils.load(path, model)" in result.output


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nets.py:tiny", "o.onnx", "--save", "a.pt"], 2, "give a.pt the ending .safetensors"),
        (["nets.py:tiny", "o.onnx", "--group-size", "4"], 2, "goes with --granularity per_group"),
        (
            ["nets.py:tiny", "o.onnx", "--data", "data.npz", "--weights", "old.onnx"],
            2,
            "old.onnx is a whole model",
        ),
        (["nets.py:tiny", "o.onnx", "--data", "lost.npz"], 2, "lost.npz is missing"),
        (["nets.py:tiny", "o.onnx", "--weights", "lost.pt"], 2, "lost.pt is missing"),
        (["resnet9", "o.onnx"], 2, "did you mean 'resnet8'?"),
        (["nets.tiny", "o.onnx", "--data", "data.npz"], 2, "path/to/file.py:NAME"),
        (["nets.py:tiny", "o.onnx"], 2, "needs --data"),
        (["nets.py", "o.onnx", "--data", "data.npz"], 2, "write nets.py:NAME"),
        (["nots.py:tiny", "o.onnx", "--data", "data.npz"], 2, "nots.py is missing"),
        (["nets.py:tini", "o.onnx", "--data", "data.npz"], 2, "did you mean 'tiny'?"),
        (["nets.py:number", "o.onnx", "--data", "data.npz"], 2, "is a int"),
        (["nets.py:needs", "o.onnx", "--data", "data.npz"], 2, "without arguments"),
        (
            ["nets.py:Pair", "o.onnx", "--data", "data.npz"],
            2,
            "returns output_0, output_1, and labels",
        ),
        (["nets.py:Sick", "o.onnx", "--data", "data.npz"], 2, "0.weight holds NaN"),
        (["nets.py:Half", "o.onnx", "--data", "data.npz"], 2, "0.weight is torch.float16"),
        (["nets.py:Sine", "o.onnx", "--data", "data.npz", "--strict"], 1, "aten.sin in module"),
        (["nets.py:Branch", "o.onnx", "--data", "data.npz"], 1, "cannot trace Branch"),
        (["nets.py:tiny", "o.onnx", "--data", "data.npy", "--qat-epochs", "1"], 2, "needs labels"),
        (["nets.py:tiny", "--data", "data.npz"], 2, "--simulate-only"),
        (
            ["nets.py:tiny", "o.onnx", "--data", "data.npz", "--simulate-only"],
            2,
            "exclude each other",
        ),
        (
            ["nets.py:tiny", "o.pt", "--data", "data.npz"],
            2,
            "o.pt has an ending that onnxruntime does not read: .onnx for onnxruntime or openvino",
        ),
        (["nets.py:tiny", "nets.py/o.onnx", "--data", "data.npz"], 2, "cannot write into"),
        (["resnet8", "o.onnx", "--weight-bits", "9"], 2, "2<=x<=8"),
        (["resnet8", "o.onnx", "--observer", "mze"], 2, "did you mean 'mse'?"),
        (["resnet8", "o.onnx", "--target", "onnxruntim"], 2, "did you mean 'onnxruntime'?"),
        (["resnet8", "o.onnx", "--granularity", "per_group"], 2, "--group-size goes with"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_refused(words, code, message, quantize):
    result = quantize(*words)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert not Path("o.onnx").exists()


def test_failure_at_the_very_end_leaves_the_output(folder, monkeypatch, quantize):
    def fail(*_: object, **__: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr(runtimes, "load", fail)
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz")
    assert result.exit_code == 1
    assert "the disk is full" in result.output
    assert Path("old.onnx").read_bytes() == b"earlier result"
    assert not list(folder.glob(".tmp-*"))


def test_for_a_gpu_that_is_not_here_the_file_is_written_and_the_simulation_scored(
    quantize, monkeypatch
):
    monkeypatch.setattr("qutils.backends.backend.lacking_gpu", lambda: "the driver sees none")
    result = quantize("nets.py:tiny", "net.onnx", "--data", "data.npz", "--target", "tensorrt")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "Not run in integers: tensorrt needs an NVIDIA GPU: none found, the driver" in text
    assert percent("SQNR of the outputs, float to simulated", text) > 20
    assert "integer (tensorrt)" not in text
    assert "qutils check net.onnx --target tensorrt" in text
    assert tensorrt_rules.check("net.onnx") == ()


def test_litert_gets_a_file_of_its_own_format(quantize):
    pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")
    words = ("nets.py:tiny", "--data", "data.npz")
    result = quantize(words[0], "net.tflite", *words[1:])  # its ending names the target
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert percent("same prediction, simulated and integer", text) == 100
    assert re.search(r"file: FP32 \(\.onnx\) [\d,]+ bytes, INT8 \(\.tflite\) [\d,]+ bytes", text)
    assert "CONV_2D int8 (XNNPACK)" in text
    assert "resize_tensor_input sets N" in text
    assert Path("net.tflite").stat().st_size > 100
    wrong = quantize(words[0], "net.onnx", *words[1:], "--target", "litert")
    assert wrong.exit_code == 2
    assert "net.onnx has an ending that litert does not read" in wrong.stderr
    assert ".tflite for litert" in wrong.stderr


def test_a_runtime_that_is_not_here_is_told_before_anything_runs(quantize, monkeypatch):
    absent = dataclasses.replace(RUNTIMES["executorch"], package="no_such_package")
    monkeypatch.setattr(request, "RUNTIMES", {**RUNTIMES, "executorch": absent})
    where = "qutils.cli.commands.quantization.quantize"
    monkeypatch.setattr(where, lambda _: pytest.fail("it ran"))
    result = quantize("nets.py:tiny", "net.pte", "--data", "data.npz")
    assert result.exit_code != 0
    assert "no_such_package is not installed" in result.stderr


@pytest.mark.parametrize("target", ["inductor"])
def test_without_an_onnx_form_of_the_float_network_the_file_is_still_written(
    quantize, monkeypatch, target
):
    def refuse(*_):
        raise UnsupportedError("ONNX has no such operator")

    monkeypatch.setattr("qutils.cli.commands.exporting.export_float", refuse)
    if not RUNTIMES[target].installed:
        pytest.skip(f"{target} is not installed")
    result = quantize("nets.py:tiny", "net.pt2", "--data", "data.npz")
    assert result.exit_code == 0, result.output
    assert re.search(r"file: INT8 \(\.pt2\) [\d,]+ bytes; no FP32 in ONNX", result.stdout)
    assert Path("net.pt2").is_file()


@pytest.mark.parametrize(
    ("target", "words", "says"),
    [
        ("openvino", [], "the same results; weights are scaled so that no pair of products"),
        ("openvino", ["--no-saturation-safe"], "oneDNN saturates, and computes otherwise (--satur"),
        ("onnxruntime", [], "MLAS saturates, and computes otherwise (session.x64quantprecision=1"),
        ("onnxruntime", ["--saturation-safe"], "the same results; weights are scaled"),
        ("onnxruntime", ["--weight-bits", "7"], "weights of so few bits cannot overflow"),
        ("litert", [], None),
    ],
)
def test_it_says_what_cpus_without_vnni_compute(quantize, target, words, says):
    """The summary, and the weights of the file itself."""
    if not RUNTIMES[target].installed:
        pytest.skip(f"{target} is not installed")
    out = f"net{RUNTIMES[target].suffix}"
    result = quantize("nets.py:tiny", out, "--data", "data.npz", "--target", target, *words)
    assert result.exit_code == 0, result.output
    assert f"integer ({target})" in result.stdout
    lines = [line for line in result.stdout.splitlines() if "x86 without VNNI:" in line]
    assert [says in line for line in lines] == ([True] if says else [])
    if out.endswith(".onnx"):
        safe = "saturates" not in lines[0]
        assert (list(overflowing(weighted_layers(read_onnx(out)))) == []) is safe


def test_float_operators_have_a_place_in_every_file(quantize):
    pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")
    words = ("nets.py:Exponential", "net.tflite", "--data", "data.npy")
    refused = quantize(*words, "--strict")
    assert refused.exit_code == 1
    assert "leave out strict=True (--strict on the command line)" in refused.output
    assert not Path("net.tflite").exists()
    result = quantize(*words)
    assert result.exit_code == 0, result.output
    assert "No integer kernel, kept in float: exp (exp).\n" in result.stdout
    assert "1 EXP float32 (XNNPACK)" in result.stdout
    assert Path("net.tflite").stat().st_size > 100
