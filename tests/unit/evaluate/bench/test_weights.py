from __future__ import annotations

import pytest

from qutils.backends.export import export
from qutils.errors import DataError
from qutils.evaluate.analysis import estimated_size
from qutils.evaluate.bench import size_of, weight_size
from qutils.numerics.schemes import Recipe, Scheme
from tests.unit.graph.networks import observed


def simulated(bits: int, **options: object):
    return observed("ten-lines").simulate(
        Recipe(Scheme(bits, granularity="per_channel", **options))
    )


COUNT = 8 * 27 + 16 * 72 + 2560


@pytest.mark.parametrize(("bits", "packed"), [(8, COUNT), (4, COUNT // 2), (3, 3 * COUNT // 8)])
def test_simulated_stored_and_packed_are_three_things(bits, packed):
    size = weight_size(simulated(bits))
    assert size.simulated_bits == (bits,)
    assert (size.float_bytes, size.int8_bytes, size.packed_bytes) == (4 * COUNT, COUNT, packed)
    assert size.packed_bytes == estimated_size(simulated(bits)).weight_bytes
    assert size.stored_bytes is size.stored_ratio is None
    assert size.packed_ratio == pytest.approx(bits / 32)
    assert f"simulated {bits} bits" in str(size)
    assert "no file" in str(size)


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
def test_signed_and_unsigned_integers_survive(symmetric):
    assert weight_size(simulated(5, symmetric=symmetric)).packed_bytes == -(-5 * COUNT // 8)


def test_a_file_of_8_bit_kernels_stores_one_integer_a_byte(tmp_path):
    file = export(simulated(8), tmp_path / "net.onnx")
    size = weight_size(simulated(8), file)
    assert size.stored_bytes == size_of(file).weight_bytes == COUNT
    assert size.stored_ratio == 0.25
    assert f"in the file {COUNT:,}" in str(size)
    with pytest.raises(DataError, match="missing"):
        weight_size(simulated(8), tmp_path / "absent.onnx")
