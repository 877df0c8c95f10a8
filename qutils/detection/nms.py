"""Non-maximum suppression in plain torch: of boxes that overlap, the surest stays."""

from __future__ import annotations

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Places of the boxes that stay, the surest first: ``[K, 4], [K] -> [M]``, int64.

    A box goes if ``|A and B| / |A or B| > overlap`` for a surer one ``B`` that stays. Boxes are
    left, top, right, bottom.
    Source: the greedy algorithm of ``torchvision.ops.nms``.

    >>> nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9], [3, 3, 4, 4]]), torch.ones(3), 0.5)
    tensor([0, 2])
    """
    order = scores.argsort(descending=True, stable=True)
    left, top, right, bottom = boxes.float()[order].unbind(1)
    area = (right - left) * (bottom - top)
    stays = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order) - 1):
        if not stays[i]:
            continue
        rest = slice(i + 1, None)
        width = torch.minimum(right[i], right[rest]) - torch.maximum(left[i], left[rest])
        height = torch.minimum(bottom[i], bottom[rest]) - torch.maximum(top[i], top[rest])
        shared = width.clamp(min=0) * height.clamp(min=0)
        stays[rest] &= shared <= overlap * (area[i] + area[rest] - shared)
    return order[stays]
