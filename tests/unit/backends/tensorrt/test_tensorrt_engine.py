"""TensorRT's own word on files that keep and break the rules; needs no GPU, and no torch.

In an environment of numpy, onnx, pytest and tensorrt-rtx-cu13, from the folder of the project:
``python -m pytest --noconftest tests/unit/backends/tensorrt/test_tensorrt_engine.py``.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import onnx
import pytest

from qutils.backends.tensorrt import engine as tensorrt_engine
from qutils.backends.tensorrt.engine import BATCHES, PACKAGE, build
from qutils.backends.tensorrt.plan import products, steps
from qutils.errors import DataError, InvalidInputError, MissingPackageError, UnsupportedError
from tests.unit.backends.tensorrt.tensorrt_files import BROKEN, GOOD

INT8, FLOAT = ("int8", "int8"), ("float", "float")


def saved(folder: Path, name: str) -> Path:
    model = GOOD[name]() if name in GOOD else BROKEN[name][0]()
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def forced(folder: Path, name: str) -> Path:
    """An engine of a file, whatever rules it breaks."""
    job = {"onnx": str(saved(folder, name)), "engine": str(folder / "model.engine")}
    tensorrt_engine._run({**job, "batches": list(BATCHES), "capabilities": ["SM86"]})
    return folder / "model.engine"


# Without the package ------------------------------------------------------------------------------


def test_a_missing_package_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(tensorrt_engine, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install -e '\.\[tensorrt\]'"):
        build(saved(tmp_path, "good"), tmp_path / "model.engine")


def test_neither_checking_nor_building_imports_torch():
    code = (
        "import sys, qutils.backends.runtimes, qutils.backends.export, qutils.cli.commands.check\n"
        "import qutils.backends.tensorrt.engine, qutils.backends.tensorrt.plan\n"
        "import qutils.backends.tensorrt.rules\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("content", [None, b"no engine"], ids=["missing", "other"])
def test_what_is_no_engine_is_told(content, tmp_path):
    path = tmp_path / "model.engine"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="missing" if content is None else "no engine"):
        products(path)


# With it ------------------------------------------------------------------------------------------


@pytest.fixture
def tensorrt():
    return pytest.importorskip(PACKAGE, reason="TensorRT for RTX has an environment of its own")


def test_an_engine_multiplies_in_int8(tensorrt, tmp_path):
    path = build(saved(tmp_path, "good"), tmp_path / "model.engine")
    assert Counter((p.op, p.x, p.w) for p in products(path)) == {
        ("corrltn", *INT8): 2,
        ("fully_connected", *INT8): 1,
    }
    counted = steps(path)
    assert counted["corrltn int8 int8"] == 2
    # the convolution's scale, bias, ReLU and requantization are one function, and so is the sum
    assert counted["MulAddReluMulMinMaxRounCast"] == 1
    assert any(name.startswith("CastMulMulAddAddReluMulMinMaxRounCast") for name in counted)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("capability", ["SM80", "SM89", "SM120"])
def test_what_keeps_the_rules_is_built(tensorrt, name, capability, tmp_path):
    path = build(saved(tmp_path, name), tmp_path / "model.engine", [capability])
    assert all(product.is_int8 for product in products(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("int16-activations", "Failed to import initializer"),
        ("int4-convolution", "cannot build"),
        ("zero-point", "Non-zero zero point"),
        ("weight-zero-point", "Non-zero zero point"),
        ("computed-scale", "died"),
        ("scale-of-zero", "Scale coefficients must all be positive"),
        ("int32-bias", "input has type Int32"),
        ("operator-format", "cannot read"),
    ],
)
def test_tensorrt_refuses(tensorrt, name, message, tmp_path):
    with pytest.raises(UnsupportedError, match=message):
        forced(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("channel-axis", "conv0"),
        ("matmul-axis", "logits"),
        ("activation-per-channel", "conv1"),
        ("float-input", "conv0"),
        ("float-weight", "conv0"),
    ],
)
def test_tensorrt_falls_back_to_float_without_a_word(tensorrt, name, layer, tmp_path):
    types = {
        product.name.partition("_")[0]: product for product in products(forced(tmp_path, name))
    }
    assert (types.pop(layer).x, types[next(iter(types))].x) == ("float", "int8")
    assert all(product.is_int8 for product in types.values())


@pytest.mark.parametrize(
    "name", ["uint8-activations", "int8-bias", *("split-relu", "float-addend")]
)
def test_tensorrt_builds_other_breaches_in_int8(tensorrt, name, tmp_path):
    """With other numbers (uint8 read as int8, a bias in half precision), or slower."""
    assert all(product.is_int8 for product in products(forced(tmp_path, name)))


def test_uint8_is_read_as_int8(tensorrt, tmp_path):
    """It clips at -128 and 127, as the engine of the int8 file does: what lies above is lost."""
    for name in ("good", "uint8-activations"):
        path = forced(tmp_path, name)
        assert b"0x1.fcp+6f" in path.read_bytes()  # 127, in the source of its functions
        assert b"-0x1p+7f" in path.read_bytes()
        assert b"0x1.fep+7f" not in path.read_bytes()  # 255


def test_a_refused_build_does_not_spoil_the_next(tensorrt, tmp_path):
    """In one process the build behind a refused one has float convolutions."""
    onnx_file = saved(tmp_path, "good")
    with pytest.raises(UnsupportedError, match="SM75"):
        build(onnx_file, tmp_path / "model.engine", ["SM75"])
    assert not (tmp_path / "model.engine").exists()
    path = build(onnx_file, tmp_path / "model.engine", ["SM80"])
    assert all(product.is_int8 for product in products(path))


def test_what_breaks_a_rule_is_not_built(tensorrt, tmp_path):
    with pytest.raises(UnsupportedError, match=r"zero-point: x_q: .*2 in all: qutils check"):
        build(saved(tmp_path, "zero-point"), tmp_path / "model.engine")


def test_an_earlier_engine_stays(tensorrt, tmp_path):
    (tmp_path / "model.engine").write_bytes(b"earlier")
    with pytest.raises(InvalidInputError, match=r"'SM87': did you mean 'SM89'"):
        build(saved(tmp_path, "good"), tmp_path / "model.engine", ["SM87"])
    assert (tmp_path / "model.engine").read_bytes() == b"earlier"


@pytest.mark.parametrize("batches", [(8, 1, 128), (0, 1, 2), (1, 2), (1.0, 2, 3)])
def test_batches_rise(tensorrt, batches, tmp_path):
    with pytest.raises(InvalidInputError, match="smallest, usual and largest"):
        build(saved(tmp_path, "good"), tmp_path / "model.engine", batches=batches)


def test_what_the_runtime_calls_exists(tensorrt):
    """On a GPU it does the rest: see ``tests/unit/backends/tensorrt/test_tensorrt_runtime.py``."""
    for owner, names in {
        tensorrt.ICudaEngine: "create_execution_context get_tensor_profile_shape get_tensor_name "
        "num_io_tensors get_tensor_mode get_tensor_shape",
        tensorrt.IExecutionContext: "set_input_shape get_tensor_shape set_tensor_address "
        "execute_async_v3",
        tensorrt.Runtime: "deserialize_cuda_engine",
        tensorrt.TensorIOMode: "INPUT",
    }.items():
        assert all(hasattr(owner, name) for name in names.split()), owner
