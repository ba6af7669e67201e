"""Farthest-point centres and their nearest neighbours, as Uni3D was trained with them.

Source: `furthest_point_sample` of pointnet2_ops and `Group` of Uni3D (MIT).
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR_ORIGIN = 1e-3  # squared distance; points within are never picked


def farthest_points(points: Tensor, count: int, near_origin: float = NEAR_ORIGIN) -> Tensor:
    """(B, count) indices: the first point, then again and again the point farthest from all picked.

    Args:
        points:      (B, N, 3) float32.
        near_origin: points with x^2 + y^2 + z^2 up to this are never picked (the rule of the CUDA
                     operation), except the first; where no other is left the index is 0. -1: none.

    Equal distances go to the lowest index. Clouds smaller than `count` repeat points.
    """
    x, y, z = points.unbind(-1)  # (B, N) each
    never = x * x + y * y + z * z <= near_origin
    nearest = torch.full_like(x, 1e10).masked_fill_(never, -1.0)
    picked = torch.zeros(len(points), count, dtype=torch.long, device=points.device)
    last = picked[:, :1]  # (B, 1)
    for place in range(1, count):
        dx, dy, dz = (axis - axis.gather(1, last) for axis in (x, y, z))
        squared = dx.mul_(dx).add_(dy.mul_(dy)).add_(dz.mul_(dz))
        nearest = torch.minimum(nearest, squared, out=nearest)
        last = nearest.argmax(1, keepdim=True)
        picked[:, place] = last[:, 0]
    return picked


def neighbours(points: Tensor, centres: Tensor, count: int) -> Tensor:
    """(B, G, count) indices of the points (B, N, 3) nearest to each centre (B, G, 3), in no order.

    Raises:
        ValueError: fewer points than neighbours.
    """
    if points.shape[1] < count:
        raise ValueError(f"{points.shape[1]} points; a group needs {count}")
    exact = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(centres, points, compute_mode=exact)
    return distance.topk(count, largest=False, sorted=False).indices


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows (B, *, C) of `values` (B, N, C) at `index` (B, *)."""
    batch = torch.arange(len(values), device=values.device)
    return values[batch.view(-1, *(1,) * (index.ndim - 1)), index]
