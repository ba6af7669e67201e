"""A generator with a known share of copies, to see what the statistics make of it.

16-d Gaussian shapes: training set, held-out set, and generated shapes of which a share are training
points plus tiny noise; the honest rest is a little too wide, as a real generator is imperfect.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .zu import Array


def nearest_distances(
    copies: int, rng: np.random.Generator, m: int = 500, n: int = 500, width: float = 1.08
) -> tuple[Array, Array]:
    """Distances to the nearest of 2,000 training points.

    Args:
        copies: how many of the m generated points are planted copies (the first ones).
        width:  standard deviation of the honest generated points; 1 is a perfect generator.

    Returns:
        (m,) generated and (n,) held-out distances.
    """
    train, held_out = rng.normal(size=(2000, 16)), rng.normal(size=(n, 16))
    source = rng.choice(len(train), copies, replace=False)
    copied = train[source] + rng.normal(scale=0.01, size=(copies, 16))
    honest = rng.normal(scale=width, size=(m - copies, 16))
    tree = cKDTree(train)
    return tree.query(np.concatenate([copied, honest]))[0], tree.query(held_out)[0]
