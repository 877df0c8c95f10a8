from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from qutils import zoo
from qutils.cli import main
from qutils.evaluate import bench
from qutils.files import ROOT, checksums, sha256
from qutils.quantize import checkpoint, training


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """A dataset of few pictures, a folder of the test's own, its thread count afterwards."""
    data = zoo.dataset("fashion_mnist")
    few = replace(
        data,
        train=data.train.take(256),
        validation=data.validation.take(32),
        test=data.test.take(32),
    )
    monkeypatch.setitem(zoo.DATASETS, "fashion_mnist", lambda: few)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def train(*words: object):
    return CliRunner().invoke(main, ["train", "resnet8", "--epochs", "2", *map(str, words)])


def interrupt_at(step: int, monkeypatch) -> None:
    """Press Ctrl-C in the middle of that step."""
    plain = training._Update.__call__

    def call(self, done, images, labels):
        if done == step:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, done, images, labels)

    monkeypatch.setattr(training._Update, "__call__", call)


def same(a: Path, b: Path) -> bool:
    first, second = load_file(a), load_file(b)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_interrupted_run_continues_to_the_same_weights(small, monkeypatch):
    whole = train("--out", "whole.safetensors")
    assert whole.exit_code == 0, whole.output
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        result = train("--out", "parts.safetensors")
    assert result.exit_code == 130
    assert "the same command continues there" in result.output
    (resume,) = small.glob("*.resume")
    assert not Path("parts.safetensors").exists()
    result = train("--out", "parts.safetensors")
    assert result.exit_code == 0, result.output
    assert f"Continuing the interrupted run in {resume}" in result.output
    assert not resume.exists()
    assert same(Path("parts.safetensors"), Path("whole.safetensors"))


def test_accuracy_and_checksum_are_printed_progress_is_not(small):
    result = train("--seed", 3)
    assert result.exit_code == 0, result.output
    validation, test, last = result.stdout.splitlines()
    assert validation.startswith("validation")
    assert test.startswith("test")
    assert "n = 32" in test
    written = small / "resnet8.safetensors"
    assert last == f"{written}  SHA-256 {sha256(written)}"
    assert "2 epochs of fashion_mnist, seed 3, threads 1" in result.stderr
    assert "step" in result.stderr


def test_other_plan_does_not_continue_an_interrupted_run(small, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_at(2, patch)
        assert train().exit_code == 130
    result = train("--seed", 1)
    assert result.exit_code == 0
    assert "Continuing" not in result.output
    assert len(list(small.glob("*.resume"))) == 1


def test_existing_file_is_replaced_only_if_named(small):
    file = small / "resnet8.safetensors"
    file.write_text("mine")
    result = train()
    assert result.exit_code == 2
    assert "name it with --out" in result.output
    assert file.read_text() == "mine"
    assert train("--out", file).exit_code == 0
    assert load_file(file)


def test_shipped_checkpoint_is_replaced_with_its_checksum_if_named(small, monkeypatch):
    folder = small / "data/checkpoints"
    shutil.copytree(ROOT / "data/checkpoints", folder)
    monkeypatch.setenv("QUTILS_DATA", str(small / "data"))
    before = checksums(folder)
    monkeypatch.chdir(folder)
    assert train().exit_code == 2
    assert checksums(folder) == before
    result = train("--out", "resnet8.safetensors")
    assert result.exit_code == 0, result.output
    after = checksums(folder)
    assert after.pop("resnet8.safetensors") != before.pop("resnet8.safetensors")
    assert after == before
    zoo.load("resnet8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "0"),
        (["--epochs", "nan"], "not a finite number"),
        (["--seed", "-1"], "-1"),
        (["--threads", "0"], "0"),
        (["--out", "file/below/a.safetensors"], "cannot write into"),
        (["--out", "a.pt"], "written as .safetensors"),
    ],
)
def test_usage_errors_come_before_training(small, words, message):
    (small / "file").write_text("")
    result = train(*words)
    assert result.exit_code == 2
    assert message in result.output
    assert [path.name for path in small.iterdir()] == ["file"]


def test_unknown_model_is_named_with_the_closest():
    result = CliRunner().invoke(main, ["train", "resnet9"])
    assert result.exit_code == 2
    assert "did you mean 'resnet8'?" in result.output


# --- qutils train MODEL --qat ---


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The study's job in this process, where the dataset is the small one."""
    from qutils.lab.studies import study
    from qutils.lab.studies.study.job import run_job

    monkeypatch.setenv("QUTILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        study, "run_jobs", lambda jobs, cache: {job: run_job(job, cache) for job in jobs}
    )
    data = zoo.dataset("fashion_mnist")
    few = replace(data, calibration=data.calibration.take(512))
    monkeypatch.setitem(zoo.DATASETS, "fashion_mnist", lambda: few)


def qat(bits: str, *words: object):
    return CliRunner().invoke(
        main, ["train", "resnet8", "--qat", bits, "--epochs", "1", *map(str, words)]
    )


def test_qat_writes_a_network_that_loads_and_scores_as_printed(small, here):
    result = qat("W4A4")
    assert result.exit_code == 0, result.output
    made, path = zoo.QAT_CHECKPOINTS["resnet8-w4a4"], small / "resnet8-w4a4.safetensors"
    assert f"{path}  SHA-256 {sha256(path)}" in result.stdout
    sim = checkpoint.load(path, zoo.load("resnet8", pretrained=False))
    assert sim.recipe == replace(made.recipe, saturation_safe=False)
    test = zoo.dataset("fashion_mnist").test
    found = bench.evaluate(bench.predict_with(sim), ((x.numpy(), y.numpy()) for x, y in test))
    assert f"{found.top1:.2f} % simulated (n = 32)" in result.stdout
    assert "integer" not in result.stdout
    assert "1 epochs from the PTQ model (mse, per_channel, 512 calibration" in result.stderr


def test_qat_reuses_what_was_trained(small, here):
    assert qat("w8a8", "--out", "a.safetensors").exit_code == 0
    result = qat("W8A8", "--out", "b.safetensors")
    assert "1 of 1 results reused" in result.stderr
    assert "% integer, ONNX Runtime" in result.stdout
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()
    other = qat("W8A8", "--seed", 1, "--out", "c.safetensors")
    assert "0 of" in other.stderr
    assert Path("a.safetensors").read_bytes() != Path("c.safetensors").read_bytes()


def test_a_network_beside_the_shipped_ones_is_listed(small, here, monkeypatch):
    folder = small / "data/checkpoints"
    shutil.copytree(ROOT / "data/checkpoints", folder)
    shutil.copytree(ROOT / "data/fashion_mnist", small / "data/fashion_mnist")
    monkeypatch.setenv("QUTILS_DATA", str(small / "data"))
    before = checksums(folder)
    before.pop("resnet8-w2a8.safetensors", None)
    assert qat("W2A8", "--out", folder / "resnet8-w2a8.safetensors").exit_code == 0
    after = checksums(folder)
    assert set(after) - set(before) == {"resnet8-w2a8.safetensors"}
    assert zoo.load_quantized("resnet8", 2, 8).recipe.label == "W2A8"


@pytest.mark.parametrize(
    ("bits", "words", "message"),
    [
        ("4", [], "not like W4A4"),
        ("W1A8", [], "2 to 8 bits"),
        ("W4A4", ["--threads", "2"], "leave --threads out"),
        ("W4A4", ["--out", "a.onnx"], "written as .safetensors"),
    ],
)
def test_qat_usage_errors_come_before_training(small, here, bits, words, message):
    result = qat(bits, *words)
    assert result.exit_code == 2
    assert message in result.output
    assert not (small / "cache").exists()
