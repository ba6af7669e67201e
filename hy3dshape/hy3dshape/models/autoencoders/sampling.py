"""Farthest point sampling with the semantics of torch_cluster, but a fixed start.

Source: torch_cluster `fps` (squared Euclidean distance in float32, first index on ties).
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.compiler.disable  # a loop, which would be unrolled
@torch.no_grad()
def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices of `count` points of each cloud, each the farthest from those before it.

    Args:
        points: (b, n, 3) float.
        count:  from 1 to n.

    Returns:
        (b, count) int64, index 0 first, in the order of selection: the first m of them are what
        a call with `count` m returns.

    Raises:
        ValueError: `count` is not in 1..n.
    """
    b, n, _ = points.shape
    if not 1 <= count <= n:
        raise ValueError(f"cannot choose {count} of {n} points")
    axes = points.float().permute(2, 0, 1).contiguous()  # (3, b, n)
    chosen = torch.zeros((b, count), dtype=torch.long, device=points.device)
    nearest = torch.full((b, n), torch.inf, device=points.device)
    last = chosen[:, :1]
    for i in range(1, count):
        squares = (axes - axes.gather(2, last.expand(3, b, 1))).square_()
        torch.minimum(nearest, squares[0] + squares[1] + squares[2], out=nearest)
        last = nearest.argmax(dim=1, keepdim=True)
        chosen[:, i : i + 1] = last
    return chosen


def take(points: Tensor, index: Tensor) -> Tensor:
    """Rows of each cloud: (b, n, 3), (b, m) -> (b, m, 3)."""
    return points.gather(1, index[..., None].expand(-1, -1, points.shape[-1]))
