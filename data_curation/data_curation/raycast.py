"""First hits of camera rays on a triangle mesh, by Embree (package embreex). No I/O."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cameras import DISTANCE, HALF_WIDTH, Floats

Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

_LIFT = 5e-4  # radii a shadow ray starts above its surface


class Hits(NamedTuple):
    """What the rays of one picture hit; k hits, rays that miss are left out.

    pixels: (k,) row * size + column.  faces: (k,) triangle.  depth: (k,) from the camera plane.
    bary:   (k, 3) weights of the triangle's corners.
    points: (k, 3) where.  normals: (k, 3) unit, turned to the camera.
    """

    pixels: Ints
    faces: Ints
    depth: Floats32
    bary: Floats32
    points: Floats32
    normals: Floats32


def lifted(hits: Hits) -> Floats32:
    """(k, 3) hit points a little above their surface, where shadow rays start."""
    return hits.points + np.float32(_LIFT) * hits.normals


class Caster:
    """A mesh prepared for rays.

    Args:
        vertices: (n, 3) inside the unit sphere.
        faces:    (m, 3) corners.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.vertices = np.ascontiguousarray(vertices, np.float32)
        self.scene: Any = EmbreeScene()
        TriangleMesh(self.scene, self.vertices, np.ascontiguousarray(faces, np.int32))

    def cast(self, axes: Floats, size: int, shift: tuple[float, float] = (0.5, 0.5)) -> Hits:
        """One ray through the same place of every pixel.

        Args:
            axes:  (3, 3) rows right, up, back of the camera.
            size:  pixels per side.
            shift: place inside a pixel as (column, row), 0 to 1.
        """
        pixels, origins = self._rays(axes, size, shift)
        away = np.ascontiguousarray(-axes[2:], np.float32)  # (1, 3), shared by all rays
        found = self.scene.run(origins, away, output=True)
        hit = np.flatnonzero(found["primID"] >= 0)
        depth, normals = found["tfar"][hit], found["Ng"][hit]
        u, v = found["u"][hit], found["v"][hit]
        normals *= np.where(normals @ away[0] > 0, -1, 1)[:, None].astype(np.float32)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-30))
        points = origins[hit] + depth[:, None] * away
        bary = np.stack([1 - u - v, u, v], axis=1)
        faces = found["primID"][hit].astype(np.int64)
        return Hits(pixels[hit], faces, depth, bary, points, normals)

    def _rays(self, axes: Floats, size: int, shift: tuple[float, float]) -> tuple[Ints, Floats32]:
        """Pixels under the projected mesh, (k,), and where their rays start, (k, 3)."""
        flat = self.vertices @ axes[:2].T.astype(np.float32)  # (n, 2)
        flat *= np.array([1, -1], np.float32)
        low = np.floor((flat.min(axis=0) / HALF_WIDTH + 1) / 2 * size).astype(int)
        high = np.ceil((flat.max(axis=0) / HALF_WIDTH + 1) / 2 * size).astype(int)
        columns = np.arange(max(low[0], 0), min(high[0], size))
        rows = np.arange(max(low[1], 0), min(high[1], size))
        x = ((columns + shift[0]) / size * 2 - 1) * HALF_WIDTH
        y = (1 - (rows + shift[1]) / size * 2) * HALF_WIDTH
        starts = y[:, None, None] * axes[1] + x[:, None] * axes[0] + DISTANCE * axes[2]
        pixels = (rows[:, None] * size + columns).ravel().astype(np.int64)
        return pixels, np.ascontiguousarray(starts.reshape(-1, 3), np.float32)

    def blocked(self, starts: Floats32, direction: Floats32) -> NDArray[np.bool_]:
        """(k,) whether the mesh stands between each start (k, 3) and a light at infinity."""
        found = self.scene.run(starts, direction[None], query="OCCLUDED")
        return np.asarray(found >= 0)
