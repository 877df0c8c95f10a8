import pytest
import torch
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

from qutils.numerics.observers import Statistic, qparams_of, range_of, rows_of
from qutils.numerics.schemes import Scheme


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "affine"])
def test_against_torch(symmetric):
    torch.manual_seed(0)
    scheme = Scheme(8, signed=symmetric, symmetric=symmetric)
    theirs = MinMaxObserver(
        dtype=torch.qint8 if symmetric else torch.quint8,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        quant_min=scheme.qmin,
        quant_max=scheme.qmax,
    )
    statistic = Statistic()
    for _ in range(5):
        batch = torch.randn(1000) + 0.3
        statistic.observe(batch)
        theirs(batch)
    scale, zero_point = theirs.calculate_qparams()
    q = qparams_of(statistic.rows(), scheme)
    assert q.scale.item() == pytest.approx(scale.item(), rel=1e-6)
    assert q.zero_point.item() == zero_point.item()


def test_against_torch_per_channel():
    torch.manual_seed(1)
    weight = torch.randn(8, 27)
    theirs = PerChannelMinMaxObserver(0, dtype=torch.qint8, quant_min=-128, quant_max=127)
    theirs(weight)
    scale, zero_point = theirs.calculate_qparams()
    scheme = Scheme(8, signed=True, symmetric=False, granularity="per_channel")
    q = qparams_of(rows_of(weight, 0), scheme, 0)
    torch.testing.assert_close(q.scale, scale.float(), rtol=1e-6, atol=0)
    assert torch.equal(q.zero_point, zero_point.int())


def test_moving_average_of_one_batch_is_minmax():
    rows = rows_of(torch.randn(5, 9), 0)
    minmax = range_of(rows, Scheme(observer="minmax"))
    moving = range_of(rows, Scheme(observer="moving_average"))
    assert torch.equal(torch.stack(minmax), torch.stack(moving))


def test_moving_average_forgets_one_wild_batch():
    statistic = Statistic().observe(torch.tensor([-1.0, 1.0])).observe(torch.tensor([-1.0, 101.0]))
    low, high = range_of(statistic.rows(), Scheme(observer="moving_average"))
    assert (low.item(), high.item()) == pytest.approx((-1.0, 0.9 * 1.0 + 0.1 * 101.0))
