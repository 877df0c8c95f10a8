from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qutils.errors import DataError, InvalidInputError
from qutils.evaluate.analysis import pack, packed_bytes, unpack


@given(st.data(), st.integers(1, 8), st.booleans())
def test_what_was_packed_comes_back(data, bits, signed):
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values = torch.tensor(
        data.draw(st.lists(st.integers(low, high), max_size=40)), dtype=torch.int32
    )
    packed = pack(values, bits)
    assert packed.dtype == torch.uint8
    assert packed.numel() == packed_bytes(len(values), bits) == -(-bits * len(values) // 8)
    assert unpack(packed, bits, values.shape, signed=signed).tolist() == values.tolist()


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_bits_are_those_of_one_large_number(bits):
    """The stream read as one little-endian number is ``sum_i value_i 2^(i bits)``."""
    values = torch.randint(0, 1 << bits, (13,), generator=torch.Generator().manual_seed(0))
    number = sum(int(v) << (i * bits) for i, v in enumerate(values))
    assert bytes(pack(values, bits).tolist()) == number.to_bytes(packed_bytes(13, bits), "little")


def test_two_values_of_four_bits_share_a_byte_as_in_onnx():
    onnx = pytest.importorskip("onnx")
    values = torch.tensor([[-8, 7, 3], [-1, 0, 5]])
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [2, 3], values.flatten().tolist())
    stored = tensor.raw_data or bytes(tensor.int32_data)
    assert len(stored) == 3
    assert bytes(pack(values, 4).tolist()) == stored


@pytest.mark.parametrize("value", [8, -9, 16])
def test_a_value_that_does_not_fit(value):
    with pytest.raises(InvalidInputError, match="does not fit into 4 bits"):
        pack(torch.tensor([-1, value]), 4)


def test_refused():
    with pytest.raises(InvalidInputError, match=r"integers are packed, got torch\.float32"):
        pack(torch.zeros(3), 4)
    with pytest.raises(InvalidInputError, match="1 to 8 bits are packed, not 9"):
        pack(torch.zeros(3, dtype=torch.int8), 9)
    with pytest.raises(DataError, match="5 values of 4 bits take 3 bytes, there are 2"):
        unpack(torch.zeros(2, dtype=torch.uint8), 4, [5])
