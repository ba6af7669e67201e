"""Which cells of a grid triangles touch: exact, by separating axes. No I/O.

A box and a triangle are apart if and only if they are on one of 13 axes: 3 of the box, the normal,
and the 9 crosses of their edges (Akenine-Moller, Fast 3D triangle-box overlap testing, 2001). The
first three are the loop over the cells of the triangle's bounding box.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def touch(corners: np.ndarray, grid: np.ndarray) -> None:
    """Set the cells that triangles touch.

    Args:
        corners: (m, 3, 3) float64, the corners of m triangles, in cells, 0 <= each < r.
        grid:    (r, r, r) uint8; cell (i, j, k) is the cube from there to (i+1, j+1, k+1).
    """
    low, high, normal = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3)
    edges, v = np.empty((3, 3)), np.empty((3, 3))
    for t in range(len(corners)):
        for axis in range(3):
            a, b, c = corners[t, 0, axis], corners[t, 1, axis], corners[t, 2, axis]
            low[axis], high[axis] = int(min(a, b, c)), int(max(a, b, c))
            edges[0, axis], edges[1, axis], edges[2, axis] = b - a, c - b, a - c
        e, f = edges[0], edges[1]
        normal[0] = e[1] * f[2] - e[2] * f[1]
        normal[1] = e[2] * f[0] - e[0] * f[2]
        normal[2] = e[0] * f[1] - e[1] * f[0]
        reach = 0.5 * (abs(normal[0]) + abs(normal[1]) + abs(normal[2]))
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    if grid[i, j, k]:
                        continue
                    for corner in range(3):
                        v[corner, 0] = corners[t, corner, 0] - (i + 0.5)
                        v[corner, 1] = corners[t, corner, 1] - (j + 0.5)
                        v[corner, 2] = corners[t, corner, 2] - (k + 0.5)
                    away = normal[0] * v[0, 0] + normal[1] * v[0, 1] + normal[2] * v[0, 2]
                    if abs(away) <= reach and not _apart(v, edges):
                        grid[i, j, k] = 1


@njit(cache=True, nogil=True)
def _apart(v: np.ndarray, edges: np.ndarray) -> bool:
    """Whether a cross of an edge with an axis of the unit cube around 0 separates it from `v`."""
    for e in range(3):
        for x in range(3):  # the cross with axis z lies in the plane of x and y
            y = (x + 1) % 3
            along, across = edges[e, x], edges[e, y]
            p = across * v[0, x] - along * v[0, y]
            q = across * v[1, x] - along * v[1, y]
            r = across * v[2, x] - along * v[2, y]
            reach = 0.5 * (abs(along) + abs(across))
            if min(p, q, r) > reach or max(p, q, r) < -reach:
                return True
    return False
