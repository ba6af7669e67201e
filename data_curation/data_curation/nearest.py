"""Exact distance of many points to a triangle mesh, with the side of the nearest place. No I/O.

A tree of boxes, WIDTH children a node, over the triangles in Morton order (Lauterbach et al., Fast
BVH Construction on GPUs, Eurographics 2009). Points are asked along the same curve, and each starts
with the distance to the triangle nearest to the point before it, so few boxes are opened. Side:
angle-weighted normal of the face, edge or corner on which that place lies (Baerentzen and Aanaes
2005).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .nearest_kernels import WIDTH, behind, closest
from .solids import CORNERS, Floats, Ints, crosses

_CELLS = 1023  # per axis, of the order along the curve


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
        normals, names = _normals(self.vertices, self.faces)
        answer = np.empty(len(points), np.bool_)
        behind(points, self._corners, found, normals, names, answer)
        return np.where(answer, -1, 1) * np.sqrt(squared)

    def _ask(self, points: Floats) -> tuple[Floats, Ints]:
        """Squared distance (k,) of points (k, 3), and the triangle (k,)."""
        squared, found = np.empty(len(points)), np.empty(len(points), np.int64)
        order = along_a_curve(points)
        closest(points, order, self._boxes, self._child, self._corners, squared, found)
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
