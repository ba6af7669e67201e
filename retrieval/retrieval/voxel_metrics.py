"""Intersection over union of voxel grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .metrics import Found, Options, smallest
from .tables import Table

BLOCK = 1 << 26  # bytes of the database compared at once


def iou(query: Table, database: Table, k: int, skip: NDArray[np.int64], options: Options) -> Found:
    """Distance 1 - |A and B| / |A or B|; two empty grids are equal, distance 0."""
    ours, theirs = _words(query), _words(database)
    size = _counts(theirs)
    rows = max(1, BLOCK // theirs[0].nbytes)
    distance = np.zeros((len(query), len(database)))
    for i, grid in enumerate(ours):
        both = np.concatenate(
            [_counts(theirs[j : j + rows] & grid) for j in range(0, len(theirs), rows)]
        )
        union = size + _counts(grid[None]) - both
        distance[i] = 1 - both / np.maximum(union, 1) - (union == 0)
        options.progress(1)
    return smallest(distance, k, skip)


def _words(table: Table) -> NDArray[np.uint64]:
    """(n, w) 64-bit words of the packed grids, padded with empty bits."""
    grids = table.arrays["voxels"]
    padded = np.pad(grids, ((0, 0), (0, -grids.shape[1] % 8)))
    return np.ascontiguousarray(padded).view(np.uint64)


def _counts(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))
