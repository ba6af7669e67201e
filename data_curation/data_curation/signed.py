"""Signed distance to a closed triangle mesh, and how far its sign can be trusted. No I/O.

A point is inside where the winding number (Jacobson, Kavan, Sorkine-Hornung, SIGGRAPH 2013; fast
form: Barill et al., SIGGRAPH 2018) is above 1/2 in magnitude, so a mesh that is inside out, or
drawn around an inner part, is as solid as its twin.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .nearest import Nearest
from .nearest_kernels import Bools
from .solids import Floats, Ints, crosses, surface_samples

INSIDE = 0.5  # winding number that divides
STEP = 1e-5  # radii from a surface point to the two places beside it
_LONG = 1e4  # length of rays, which keeps hits of small triangles over libigl's epsilon


class Trust(NamedTuple):
    """What tests of the sign at random points gave; shares are 0 to 1.

    disagreement: winding number and ray parity differ, in the bounding box.
    unturned:     both sides of a surface point are inside, or both outside.
    points, inside: (k, 3), (k,) the points tested and their side by winding number.
    """

    disagreement: float
    unturned: float
    points: Floats
    inside: Bools


class SignedMesh:
    """A mesh prepared for questions; vertices (n, 3), faces (m, 3) of a unit sphere."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        os.environ.setdefault("IGL_NUM_THREADS", "1")  # processes, not threads, share the cores
        if _volume(vertices, faces) < 0:
            faces = faces[:, ::-1]
        self.vertices = np.ascontiguousarray(vertices, np.float64)
        self.faces = np.ascontiguousarray(faces, np.int64)

    @cached_property
    def nearest(self) -> Nearest:
        return Nearest(self.vertices, self.faces)

    @cached_property
    def _rays(self) -> Any:
        import igl

        tree = igl.AABB()
        tree.init(self.vertices, self.faces)
        return tree

    @cached_property
    def _winding(self) -> Any:
        import igl

        tree = igl.FastWindingNumberBVH()
        tree.init(self.vertices, self.faces, 2)
        return tree

    def inside(self, points: Floats) -> Bools:
        """(k,) whether points (k, 3) are inside."""
        return np.abs(self._winding.winding_number(points, 2.0)) > INSIDE

    def sdf(self, points: Floats, trust: Trust) -> Floats:
        """(k,) signed distance of points (k, 3), negative inside.

        Signs come from the angle-weighted normal at the nearest place (Baerentzen and Aanaes 2005)
        if that is right at all test points, else from the winding number, some ten times slower.
        """
        signed = self.nearest.signed(np.concatenate([points, trust.points]))
        signed, tested = signed[: len(points)], signed[len(points) :]
        if np.array_equal(tested < 0, trust.inside):
            return signed
        return np.abs(signed) * np.where(self.inside(points), -1, 1)

    def parity(self, points: Floats, directions: Floats) -> Bools:
        """(k,) whether a ray from each point (k, 3) along its direction (k, 3) hits oddly often."""
        long = directions * _LONG
        hits = self._rays.intersect_ray(self.vertices, self.faces, points, long)
        return np.array([len(found) % 2 == 1 for found in hits])

    def trust(self, count: int, rng: np.random.Generator) -> Trust:
        """Tests of the sign, each with `count` random points."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        free = low + rng.random((count, 3)) * (high - low)
        on, chosen = surface_samples(self.vertices, self.faces, count, rng)
        normals = crosses(self.vertices, self.faces[chosen])
        step = normals / np.linalg.norm(normals, axis=1, keepdims=True) * STEP
        points = np.concatenate([free, on + step, on - step])
        inside = self.inside(points)
        odd = self.parity(free, rng.normal(size=(count, 3)))
        disagreement = float(np.mean(odd != inside[:count]))
        unturned = float(np.mean(inside[count:-count] == inside[-count:]))
        return Trust(disagreement, unturned, points, inside)


def _volume(vertices: Floats, faces: Ints) -> float:
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6
