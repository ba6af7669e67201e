"""Closed solids the shape families are built from: boxes, lathes, lofts, tubes, plates.

Axes: x to the right, y up, z to the front; metres. Every function returns a manifold3d.Manifold, so
a union, difference or hull of them is watertight by construction (the guarantee of that library,
https://github.com/elalish/manifold). Solids that shall be one piece must overlap, not just touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from manifold3d import CrossSection, JoinType, Manifold, Mesh64, OpType
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Solid = Any  # manifold3d.Manifold; the library ships without complete types
Pair = tuple[float, float]
Point = tuple[float, float, float]
_SPREAD = (0.8191725134, 0.6710436067, 0.5497004779)  # R3 sequence: evenly spread, never equal


def union(parts: Sequence[Solid]) -> Solid:
    """One solid of all parts, each moved a little first, by up to 1e-4 of the largest extent.

    Parts that share an edge or part of a plane thus overlap or stay apart instead of touching: a
    touching edge would have four faces once a reader merges vertices at the same place.
    """
    boxes = np.array([part.bounding_box() for part in parts]).reshape(-1, 2, 3)
    step = 2e-4 * float(np.max(boxes[:, 1] - boxes[:, 0], initial=0.0))
    moves = (np.outer(np.arange(len(parts)), _SPREAD) % 1.0 - 0.5) * step
    placed = [part.translate(tuple(m)) for part, m in zip(parts, moves, strict=True)]
    return Manifold.batch_boolean(placed, OpType.Add)


def hull(parts: Sequence[Solid]) -> Solid:
    return Manifold.batch_hull(list(parts))


def both_sides(solid: Solid) -> Solid:
    """The solid and its mirror image in the plane x = 0."""
    return solid + solid.mirror((1.0, 0.0, 0.0))


def around(solid: Solid, count: int, start: float = 0.0) -> Solid:
    """`count` copies turned about the y axis in equal steps, the first by `start` degrees."""
    turns = (start + 360.0 * k / count for k in range(count))
    return union([solid.rotate((0.0, t, 0.0)) for t in turns])


def box(x: Pair, y: Pair, z: Pair) -> Solid:
    """Axis-parallel box between two values per axis."""
    low = (x[0], y[0], z[0])
    return Manifold.cube((x[1] - x[0], y[1] - y[0], z[1] - z[0])).translate(low)


def soft_box(x: Pair, y: Pair, z: Pair, radius: float, sides: int = 12) -> Solid:
    """Box with rounded edges and corners: the hull of eight spheres.

    Args:
        radius: of the rounding, cut down to 49 % of the shortest side.
        sides:  segments of a full turn of the rounding.
    """
    r = min(radius, *(0.49 * (b - a) for a, b in (x, y, z)))
    ball = Manifold.sphere(r, sides)
    corners = product(*((a + r, b - r) for a, b in (x, y, z)))
    return hull([ball.translate(corner) for corner in corners])


def ball(centre: Point, radii: Point, sides: int = 24) -> Solid:
    """Ellipsoid with half-axes `radii`."""
    return Manifold.sphere(1.0, sides).scale(radii).translate(centre)


def lathe(profile: ArrayLike, sides: int = 32) -> Solid:
    """Solid of revolution about the y axis.

    Args:
        profile: (n, 2) polygon of (radius >= 0, y); it is closed by itself, in either direction.
        sides:   segments of the full turn.
    """
    return _section(profile).revolve(sides).rotate((-90.0, 0.0, 0.0))


def rod(y: Pair, radius: Pair, sides: int = 16) -> Solid:
    """Upright cylinder or cone about the y axis with a radius at its bottom and its top."""
    made = Manifold.cylinder(y[1] - y[0], radius[0], radius[1], sides)
    return made.rotate((-90.0, 0.0, 0.0)).translate((0.0, y[0], 0.0))


def plate(outline: ArrayLike, thickness: Pair, rounding: float = 0.0) -> Solid:
    """Outline in the x-y plane, extruded along z.

    Args:
        outline:   (n, 2) simple polygon, in either direction.
        thickness: z of the back and of the front.
        rounding:  radius by which corners of the outline are rounded; the outline keeps its size.
    """
    section = _section(outline)
    if rounding > 0.0:
        inner = section.offset(-rounding, JoinType.Round, 2.0, 16)
        section = inner.offset(rounding, JoinType.Round, 2.0, 16)
    return section.extrude(thickness[1] - thickness[0]).translate((0.0, 0.0, thickness[0]))


def lying(solid: Solid, y: float = 0.0) -> Solid:
    """Lay a plate down: its x-y plane becomes x and -z, its thickness goes up from height `y`."""
    return solid.rotate((-90.0, 0.0, 0.0)).translate((0.0, y, 0.0))


def _section(polygon: ArrayLike) -> CrossSection:
    points = np.asarray(polygon, np.float64)
    x, y = points.T
    if np.dot(x, np.roll(y, -1)) < np.dot(y, np.roll(x, -1)):
        points = points[::-1]
    return CrossSection([np.ascontiguousarray(points)])


def loft(rings: ArrayLike) -> Solid:
    """Skin through rings of equally many points, closed by a fan at both ends.

    Args:
        rings: (m, k, 3), m >= 2 rings of k >= 3 points; end rings star-shaped about their mean.

    Raises:
        ValueError: the result is no oriented manifold.
    """
    ring = np.asarray(rings, np.float64)
    m, k, _ = ring.shape
    here = np.arange(m * k).reshape(m, k)
    after = np.roll(here, -1, axis=1)
    quads = np.stack([here[:-1], after[:-1], after[1:], here[1:]], axis=-1).reshape(-1, 4)
    first, last = np.full(k, m * k), np.full(k, m * k + 1)
    caps = [np.stack([after[0], here[0], first], 1), np.stack([here[-1], after[-1], last], 1)]
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]], *caps])
    points = np.concatenate([ring.reshape(-1, 3), ring[[0, -1]].mean(axis=1)])
    solid = Manifold(Mesh64(points, faces.astype(np.uint64)))
    if solid.volume() < 0.0:
        solid = Manifold(Mesh64(points, faces[:, ::-1].astype(np.uint64, order="C")))
    if solid.is_empty():
        raise ValueError(f"a skin through {m} rings is no closed solid: {solid.status()}")
    return solid


def tube(path: ArrayLike, radius: float | Sequence[float], sides: int = 10) -> Solid:
    """Round tube along a polyline.

    Args:
        path:   (m, 3) points, m >= 2; turns well under 90 degrees at each.
        radius: one, or (m,) one per point.
        sides:  points of a ring.
    """
    points = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(points))
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    turn = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    normal = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    rings = []
    for point, tangent, r in zip(points, tangents, radii, strict=True):
        normal = normal - tangent * (normal @ tangent)  # parallel transport: least twist
        normal /= np.linalg.norm(normal)
        across = np.cross(tangent, normal)
        rings.append(point + r * (np.outer(np.cos(turn), normal) + np.outer(np.sin(turn), across)))
    return loft(rings)


def beam(start: Point, end: Point, width: Pair, depth: Pair | None = None) -> Solid:
    """Square bar with ends parallel to the floor, between points at different heights.

    Args:
        width: along x at the start and the end.
        depth: along z at the start and the end; as `width` when None.
    """
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)])
    rings = []
    for point, w, d in zip((start, end), width, depth or width, strict=True):
        ring = np.tile(np.asarray(point, np.float64), (4, 1))
        ring[:, [0, 2]] += corners * (w, d)
        rings.append(ring)
    return loft(rings)


def smooth(points: ArrayLike, steps: int) -> Array:
    """(steps, d) points on a Catmull-Rom spline through (n, d) control points, ends included."""
    p = np.asarray(points, np.float64)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0.0, len(p) - 1.0, steps)
    k = np.minimum(t.astype(int), len(p) - 2)
    u = (t - k)[:, None]
    a, b, c, d = (padded[k + j] for j in range(4))
    made: Array = 0.5 * (
        2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * (b - c) + d - a) * u**3
    )
    return made


def superellipse(half: Pair, exponent: float, sides: int) -> Array:
    """(sides, 2) points of |x/a|^n + |y/b|^n = 1: n = 2 an ellipse, larger n nearer to a box."""
    turn = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    unit = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    made: Array = np.sign(unit) * np.abs(unit) ** (2.0 / exponent) * half
    return made
