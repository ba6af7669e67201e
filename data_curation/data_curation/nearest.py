"""Exact distance of many points to a triangle mesh, with the side of the nearest place. No I/O.

A tree of boxes, WIDTH children a node, over the triangles in Morton order (Lauterbach et al., Fast
BVH Construction on GPUs, Eurographics 2009). Points are asked along the same curve, and each starts
with the distance to the triangle nearest to the point before it, so few boxes are opened. Nearest
place on a triangle: Ericson, Real-Time Collision Detection (2005), 5.1.5. Side: angle-weighted
normal of the face, edge or corner on which that place lies (Baerentzen and Aanaes 2005).

All kernels are in this file because numba's disk cache watches just the file of a kernel. Nothing
is bounds-checked.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from .solids import CORNERS, Floats, Ints, crosses

WIDTH = 4  # children of a node
_CELLS = 1023  # per axis, of the order along the curve
_OPEN = 128  # most nodes that wait: WIDTH - 1 for each of up to 40 levels
_A, _B, _C, _AB, _BC, _CA, _FACE = range(7)  # parts of a triangle, in the order of their normals

Bools = NDArray[np.bool_]
F = TypeVar("F", bound=Callable[..., Any])


def _kernel(function: F) -> F:
    """numba's `njit`, typed. Divisions do not look for zero."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def _inlined(function: F) -> F:
    return cast(F, numba.njit(inline="always")(function))


class Nearest:
    """A mesh prepared for questions; vertices (n, 3), faces (m, 3), some with an area."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        faces = faces[(crosses(vertices, faces) != 0).any(axis=1)]
        low = np.minimum.reduce([vertices[faces[:, i]] for i in range(CORNERS)])
        high = np.maximum.reduce([vertices[faces[:, i]] for i in range(CORNERS)])
        order = along_a_curve(low + high)
        self.vertices, self.faces = vertices, faces[order]
        self._corners = vertices[self.faces]  # (m, 3, 3)
        self._boxes, self._child = _tree(low[order], high[order])

    def distance(self, points: Floats) -> Floats:
        """(k,) distance of points (k, 3) to the nearest triangle, >= 0."""
        return np.sqrt(self._ask(points)[0])

    def signed(self, points: Floats) -> Floats:
        """(k,) distance of points (k, 3), negative behind the nearest place."""
        squared, found = self._ask(points)
        behind = np.empty(len(points), np.bool_)
        normals, names = _normals(self.vertices, self.faces)
        _behind(points, self._corners, found, normals, names, behind)
        return np.where(behind, -1, 1) * np.sqrt(squared)

    def _ask(self, points: Floats) -> tuple[Floats, Ints]:
        """Squared distance (k,) of points (k, 3), and the triangle (k,)."""
        squared, found = np.empty(len(points)), np.empty(len(points), np.int64)
        order = along_a_curve(points)
        _closest(points, order, self._boxes, self._child, self._corners, squared, found)
        return squared, found


def along_a_curve(points: Floats) -> Ints:
    """Order of points (k, 3) in which neighbours follow each other (Morton)."""
    low, high = points.min(axis=0), points.max(axis=0)
    cells = ((points - low) / max(float((high - low).max()), 1e-30) * _CELLS).astype(np.int64)
    key = np.zeros(len(points), np.int64)  # bits of x, y, z in turn
    for bit in range(_CELLS.bit_length()):
        for axis in range(3):
            key |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return np.argsort(key, kind="stable")


def _tree(low: Floats, high: Floats) -> tuple[Floats, Ints]:
    """Nodes over boxes (m, 3), each over its neighbours in the list; the root is the first.

    Returns:
        boxes (n, 6, WIDTH): of the children of a node, low and high xyz; empty ones lie nowhere.
        child (n,): the first child, a node; or -1 - i, the box of the list.
    """
    bounds = np.stack([low, -high])
    levels: list[Floats] = []
    while not levels or len(levels[-1]) > 1:
        empty = np.full((2, -bounds.shape[1] % WIDTH, 3), np.inf)
        parts = np.concatenate([bounds, empty], axis=1).reshape(2, -1, WIDTH, 3)
        levels.append(parts.transpose(1, 0, 3, 2).reshape(-1, 6, WIDTH))
        bounds = parts.min(axis=2)
    child = [-1 - WIDTH * np.arange(len(levels[0]))]
    begin = sum(map(len, levels))
    for level, above in pairwise(levels):
        begin -= len(level)
        child.append(begin + WIDTH * np.arange(len(above)))
    boxes = np.concatenate(levels[::-1])
    boxes[:, 3:] *= -1
    return boxes, np.concatenate(child[::-1])


def _normals(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """Normals (n, 3) at vertices and of edges, of any length; which ones are a face's, (m, 6).

    A face names those at its corners and of its edges ab, bc, ca.
    """
    import igl

    angle = igl.PER_VERTEX_NORMALS_WEIGHTING_TYPE_ANGLE
    equal = igl.PER_EDGE_NORMALS_WEIGHTING_TYPE_UNIFORM
    corners = igl.per_vertex_normals(vertices, faces, angle)
    edges, _, opposite = igl.per_edge_normals(vertices, faces, equal)  # of bc, ca, ab
    names = opposite.reshape(CORNERS, -1).T[:, [2, 0, 1]] + len(corners)
    return np.concatenate([corners, edges]), np.concatenate([faces, names], axis=1)


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
def _closest(
    points: Floats, order: Ints, boxes: Floats, child: Ints, corners: Floats, squared: Floats,
    found: Ints,
) -> None:  # fmt: skip
    """Squared distance of points (k, 3), asked in order, and the triangle."""
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
def _behind(
    points: Floats, corners: Floats, found: Ints, normals: Floats, names: Ints, behind: Bools
) -> None:
    """Whether points (k, 3) are behind the nearest places, which are on triangles `found`."""
    for k in range(len(points)):
        t = corners[found[k]]
        x, y, z, part = _place(points[k, 0], points[k, 1], points[k, 2], corners, found[k])
        if part == _FACE:
            n = np.cross(t[1] - t[0], t[2] - t[0])
        else:
            n = normals[names[found[k], part]]
        behind[k] = x * n[0] + y * n[1] + z * n[2] < 0
