"""Shape distributions D2 and A3: a zero-parameter baseline for embeddings.

Osada, Funkhouser, Chazelle, Dobkin, Shape Distributions, ACM TOG 21 (4), 2002. D2 is the distance
of two random surface points, here over its mean; A3 the angle at the first of three.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 64
FARTHEST = 3.0  # mean distances; what lies beyond counts in the last bin


def d2a3(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(128,) float32 of length 1: roots of the two histograms, so distances are Hellinger's.

    Args:
        points: (n, 3) independent surface points; three in a row make one sample of each.

    Raises:
        ValueError: fewer than three points, or all in one place.
    """
    if len(points) < 3:
        raise ValueError(f"{len(points)} points; three make a sample")
    triples = points[: len(points) // 3 * 3].astype(np.float64).reshape(-1, 3, 3)
    first, second = triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0]
    length = np.linalg.norm(first, axis=1)
    if not length.mean() > 0:
        raise ValueError("all points in one place; a shape needs an extent")
    # atan2 of cross and dot product is exact for small angles too
    across = np.linalg.norm(np.cross(first, second), axis=1)
    angle = np.arctan2(across, (first * second).sum(1))
    shares = [_shares(length / length.mean(), FARTHEST), _shares(angle, np.pi)]
    return np.sqrt(np.concatenate(shares) / 2).astype(np.float32)


def _shares(values: NDArray[np.float64], top: float) -> NDArray[np.float64]:
    place = np.minimum((values / top * BINS).astype(np.int64), BINS - 1)
    return np.asarray(np.bincount(place, minlength=BINS) / len(values))
