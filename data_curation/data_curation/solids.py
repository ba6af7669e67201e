"""Triangle meshes as solids: merged, normalised, and whether they are closed. No I/O."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CORNERS = 3


class Placed(NamedTuple):
    """A mesh in the unit sphere: `(original - shifts) * scale` gives its vertices."""

    vertices: Floats  # (n, 3)
    faces: Ints  # (m, 3)
    shifts: Floats  # (3,) centre of the bounding box
    scale: float  # 1 / largest distance of a vertex from there


def merged(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """The mesh with one vertex per place, no face with fewer than three, none twice the same way.

    A face and its reverse are kept both: together they are a sheet, not a boundary.

    Raises:
        ValueError: no face is left.
    """
    places, names = np.unique(vertices + 0.0, axis=0, return_inverse=True)  # -0.0 is 0.0
    faces = names.reshape(-1)[faces]
    faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    if not (crosses(places, faces) != 0).any():
        raise ValueError("no face has an area; a surface is needed")
    first = faces.argmin(axis=1)[:, None]  # a face may start at any corner: let it be the lowest
    turned = np.take_along_axis(faces, (first + np.arange(CORNERS)) % CORNERS, axis=1)
    kept = np.sort(np.unique(turned, axis=0, return_index=True)[1])
    used, names = np.unique(faces[kept], return_inverse=True)
    return places[used], names.reshape(-1, CORNERS).astype(np.int64)


def placed(vertices: Floats, faces: Ints) -> Placed:
    """Sphere normalisation: the centre of the bounding box is 0, the farthest vertex at 1.

    Source: VecSetX (github.com/1zb/VecSetX), its sampling tool.

    Raises:
        ValueError: all vertices are at one place.
    """
    shifts = vertices.min(axis=0) / 2 + vertices.max(axis=0) / 2
    centred = vertices - shifts
    radius = float(np.linalg.norm(centred, axis=1).max())
    if not radius > 0 or not np.isfinite(1 / radius):
        raise ValueError(f"its radius is {radius:g}; a surface of some size is needed")
    return Placed(centred / radius, faces, shifts, 1 / radius)


def balanced(faces: Ints) -> bool:
    """Whether every edge is walked as often one way as the other.

    That is closed and consistently wound; the winding number is then an integer off the surface.
    """
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    base = int(faces.max()) + 1
    one, other = edges[:, 0] * base + edges[:, 1], edges[:, 1] * base + edges[:, 0]
    return bool(np.array_equal(np.sort(one), np.sort(other)))


def crosses(vertices: Floats, faces: Ints) -> Floats:
    """(m, 3) normals of the faces, as long as twice their area."""
    a, b, c = (vertices[faces[:, i]] for i in range(CORNERS))
    return np.cross(b - a, c - a)


def surface_samples(
    vertices: Floats, faces: Ints, count: int, rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """Points uniform by area, (count, 3), and the faces they are on, (count,)."""
    areas = np.linalg.norm(crosses(vertices, faces), axis=1)
    ends = np.cumsum(areas)
    chosen = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    chosen = np.minimum(chosen, len(faces) - 1)
    u, v = rng.random((2, count, 1))
    over = u + v > 1  # reflect the unit square's upper half into the triangle
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    a, b, c = (vertices[faces[chosen, i]] for i in range(CORNERS))
    return a + u * (b - a) + v * (c - a), chosen
