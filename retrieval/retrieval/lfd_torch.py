"""Light field distance on a GPU (or any torch device), equal to the CPU path to the last tie.

Image weights are L1 distances of small integers and alignments sums of ten of them: both stay below
2^24, so single precision is exact as long as the device does not round to TF32. The 60 alignments
of all rig pairs are one product with a 0/1 matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .lfd_distance import images
from .metrics import Found, Options
from .permutations import view_permutations
from .tables import Table

TARGETS = 1024  # per step: about 0.2 GB on the device
_SCALE = np.array([1] * 36 + [2] * 11, np.float32)


def gpu(name: str) -> torch.device | None:
    """Device for --device; None means that `auto` found no GPU. Raises ValueError if absent."""
    if name == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else None
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device {name}: expected auto, cpu, cuda or cuda:1") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type != "cuda" or (device.index or 0) >= count:
        raise ValueError(f"--device {name}: not here ({count} CUDA devices); use --device cpu")
    return device


def nearest_on(
    device: torch.device,
    query: Table,
    database: Table,
    k: int,
    skip: NDArray[np.int64],
    options: Options,
) -> Found:
    """The k nearest by LFD, by brute force on `device`; see metrics.Metric.nearest."""
    torch.set_float32_matmul_precision("highest")
    nq, nd = len(query), len(database)
    targets = torch.from_numpy(images(database)).to(device)  # (nd, 10, 10, 47)
    alignments = _alignments().to(device)
    index, distance = np.full((nq, k), -1, np.int64), np.zeros((nq, k), np.int64)
    for i in range(nq):
        own = torch.from_numpy(images(query.rows(slice(i, i + 1)))[0]).to(device)
        all_keys = [
            _distances(own, targets[start : start + TARGETS], alignments)
            for start in range(0, nd, TARGETS)
        ]
        keys = torch.cat(all_keys) * nd + torch.arange(nd, device=device)  # distance, then row
        if skip[i] >= 0:
            keys = torch.cat([keys[: skip[i]], keys[skip[i] + 1 :]])
        best = torch.sort(torch.topk(keys, min(k, len(keys)), largest=False).values).values
        found = best.cpu().numpy()
        index[i, : len(found)], distance[i, : len(found)] = found % nd, found // nd
        options.progress(1)
    options.statistics["pairs"] = options.statistics.get("pairs", 0) + nq * nd
    options.statistics["aligned_pairs"] = options.statistics.get("aligned_pairs", 0) + nq * nd
    return index, distance


def _alignments() -> torch.Tensor:
    """(60, 100): row g has ones at 10 g(i) + i."""
    ones = np.zeros((60, 100), np.float32)
    np.put_along_axis(ones, view_permutations() * 10 + np.arange(10), 1, axis=1)
    return torch.from_numpy(ones)


def _distances(query: torch.Tensor, targets: torch.Tensor, alignments: torch.Tensor) -> Any:
    """(t,) int64 LFD of one query (10, 10, 47) with targets (t, 10, 10, 47), both uint8."""
    scale = torch.from_numpy(_SCALE).to(query.device)
    own, other = query.reshape(100, 47) * scale, targets.reshape(-1, 47) * scale
    weights = torch.cdist(own, other, p=1.0).reshape(10, 10, -1, 10, 10)  # s, a, t, d, b
    pairs = weights.permute(1, 4, 0, 3, 2).reshape(100, -1)  # a b, s d t
    totals = alignments @ pairs  # (60, s d t)
    return totals.reshape(6000, -1).amin(dim=0).round().to(torch.int64)
