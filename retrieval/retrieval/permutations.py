"""The sixty ways in which ten views of a dodecahedron pass into each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GENERATORS = ((1, 2, 3, 4, 0, 7, 8, 9, 5, 6), (0, 4, 5, 6, 7, 8, 9, 1, 2, 3))


def view_permutations() -> NDArray[np.int64]:
    """(60, 10) sorted rows g(0)..g(9): the group made by a turn of 72 degrees about +z and one of
    120 degrees about vertex 0, acting on the ten pairs of opposite vertices.
    """
    found = {tuple(range(10))}
    new = found
    while new:
        new = {tuple(g[i] for i in step) for g in new for step in GENERATORS} - found
        found = found | new
    return np.array(sorted(found), dtype=np.int64)
