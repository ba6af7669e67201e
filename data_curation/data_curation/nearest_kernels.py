"""Kernels of nearest.py: which triangle of a tree is nearest to a point, and the side of it.

Nearest place on a triangle: Ericson, Real-Time Collision Detection (2005), 5.1.5. All of it is one
file because numba's disk cache watches just the file of a kernel. Nothing is bounds-checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from .solids import Floats, Ints

WIDTH = 4  # children of a node
_OPEN = 128  # most nodes that wait: WIDTH - 1 for each of up to 40 levels
_A, _B, _C, _AB, _BC, _CA, _FACE = range(7)  # parts of a triangle

Bools = NDArray[np.bool_]
F = TypeVar("F", bound=Callable[..., Any])


def _kernel(function: F) -> F:
    """numba's `njit`, typed. Divisions do not look for zero."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def _inlined(function: F) -> F:
    return cast(F, numba.njit(inline="always")(function))


@_inlined
def _place(px: float, py: float, pz: float, t: Floats, i: int) -> tuple[float, float, float, int]:
    """From the nearest place on triangle t[i] (3, 3) to a point: x, y, z; the part it lies on."""
    ux, uy, uz = t[i, 1, 0] - t[i, 0, 0], t[i, 1, 1] - t[i, 0, 1], t[i, 1, 2] - t[i, 0, 2]
    vx, vy, vz = t[i, 2, 0] - t[i, 0, 0], t[i, 2, 1] - t[i, 0, 1], t[i, 2, 2] - t[i, 0, 2]
    ax, ay, az = px - t[i, 0, 0], py - t[i, 0, 1], pz - t[i, 0, 2]
    d1 = ux * ax + uy * ay + uz * az
    d2 = vx * ax + vy * ay + vz * az
    if d1 <= 0 and d2 <= 0:
        return ax, ay, az, _A
    bx, by, bz = px - t[i, 1, 0], py - t[i, 1, 1], pz - t[i, 1, 2]
    d3 = ux * bx + uy * by + uz * bz
    d4 = vx * bx + vy * by + vz * bz
    if d3 >= 0 and d4 <= d3:
        return bx, by, bz, _B
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        s = d1 / (d1 - d3)
        return ax - s * ux, ay - s * uy, az - s * uz, _AB
    cx, cy, cz = px - t[i, 2, 0], py - t[i, 2, 1], pz - t[i, 2, 2]
    d5 = ux * cx + uy * cy + uz * cz
    d6 = vx * cx + vy * cy + vz * cz
    if d6 >= 0 and d5 <= d6:
        return cx, cy, cz, _C
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        s = d2 / (d2 - d6)
        return ax - s * vx, ay - s * vy, az - s * vz, _CA
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 >= d3 and d5 >= d6:
        s = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return bx - s * (vx - ux), by - s * (vy - uy), bz - s * (vz - uz), _BC
    s, r = vb / (va + vb + vc), vc / (va + vb + vc)
    return ax - s * ux - r * vx, ay - s * uy - r * vy, az - s * uz - r * vz, _FACE


@_kernel
def closest(
    points: Floats, order: Ints, boxes: Floats, child: Ints, corners: Floats, squared: Floats,
    found: Ints,
) -> None:  # fmt: skip
    """Squared distance (k,) of points (k, 3), and the triangle (k,).

    A point begins with the triangle found for the one before it in `order`, and opens boxes from
    near to far.

    Args:
        boxes, child: of `nearest._tree`.
        corners:      (m, 3, 3) of the triangles, in the order of the tree.
        squared, found: are filled.
    """
    nodes, far, ahead = np.empty(_OPEN, np.int64), np.empty(_OPEN), np.empty(WIDTH)
    name = 0
    for k in order:
        px, py, pz = points[k, 0], points[k, 1], points[k, 2]
        x, y, z, _ = _place(px, py, pz, corners, name)
        best = x * x + y * y + z * z
        nodes[0], far[0], top = 0, 0.0, 1
        while top > 0:
            top -= 1
            if far[top] >= best:
                continue
            node = nodes[top]
            for c in range(WIDTH):
                x = max(max(boxes[node, 0, c] - px, px - boxes[node, 3, c]), 0.0)
                y = max(max(boxes[node, 1, c] - py, py - boxes[node, 4, c]), 0.0)
                z = max(max(boxes[node, 2, c] - pz, pz - boxes[node, 5, c]), 0.0)
                ahead[c] = x * x + y * y + z * z
            first, bottom = child[node], top
            if first < 0:
                for c in range(WIDTH):
                    if ahead[c] < best:
                        x, y, z, _ = _place(px, py, pz, corners, c - 1 - first)
                        if x * x + y * y + z * z < best:
                            best, name = x * x + y * y + z * z, c - 1 - first
                continue
            for c in range(WIDTH):
                if ahead[c] < best:  # the nearest goes on top
                    i = top
                    while i > bottom and far[i - 1] < ahead[c]:
                        far[i], nodes[i] = far[i - 1], nodes[i - 1]
                        i -= 1
                    far[i], nodes[i] = ahead[c], first + c
                    top += 1
        squared[k], found[k] = best, name


@_kernel
def behind(
    points: Floats, corners: Floats, found: Ints, normals: Floats, names: Ints, answer: Bools
) -> None:
    """Whether points (k, 3) are behind the places nearest to them, on triangles `found`.

    normals (n, 3) and names (m, 6) are of `nearest._normals`; `answer` (k,) is filled.
    """
    for k in range(len(points)):
        i = found[k]
        x, y, z, part = _place(points[k, 0], points[k, 1], points[k, 2], corners, i)
        if part == _FACE:
            normal = np.cross(corners[i, 1] - corners[i, 0], corners[i, 2] - corners[i, 0])
        else:
            normal = normals[names[i, part]]
        answer[k] = x * normal[0] + y * normal[1] + z * normal[2] < 0
