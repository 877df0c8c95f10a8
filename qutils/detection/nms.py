"""From predictions to boxes in plain torch: non-maximum suppression, or the surest as they are."""

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


def surest(predictions: Tensor, count: int = 300) -> Tensor:
    """The ``count`` surest boxes of each picture, none suppressed: what an end-to-end head finds.

    ``[N, 4 + classes, A] -> [N, K, 6]``, ``K = min(count, classes A)``: left, top, right, bottom,
    probability, class; from centre, width, height and a probability for each class.

    >>> surest(torch.tensor([[[2.0, 8], [3, 8], [2, 4], [2, 4], [0.1, 0.9]]]), 1)
    tensor([[[ 6.0000,  6.0000, 10.0000, 10.0000,  0.9000,  0.0000]]])
    """
    centre, size, probabilities = predictions[:, :2], predictions[:, 2:4], predictions[:, 4:]
    corners = torch.cat([centre - size / 2, centre + size / 2], 1)  # [N, 4, A]
    flat = probabilities.flatten(1)  # [N, classes A]
    sure, at = flat.topk(min(count, flat.shape[1]), 1)
    places = predictions.shape[2]
    boxes = corners.gather(2, (at % places)[:, None].expand(-1, 4, -1))
    return torch.cat([boxes.transpose(1, 2), sure[..., None], (at // places)[..., None]], 2)
