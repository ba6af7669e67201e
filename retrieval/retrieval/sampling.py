"""Points on and voxels around a triangle mesh, as fixed-size arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vertices = NDArray[np.float64]
Faces = NDArray[np.int64]
MAX_LATTICE = 1 << 20  # lattice points made at once


def generator_of(vertices: Vertices, faces: Faces, seed: int) -> np.random.Generator:
    """Random generator that depends on the seed and the shape alone.

    Neither the name nor the place in a list matters, and files that hold the same mesh give the
    same cloud, so that their distance is exactly 0.
    """
    digest = hashlib.sha256(np.ascontiguousarray(vertices).tobytes())
    digest.update(np.ascontiguousarray(faces).tobytes())
    return np.random.default_rng([seed, *np.frombuffer(digest.digest(), "<u4").tolist()])


def sample_surface(
    vertices: Vertices, faces: Faces, count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(count, 3) points, uniform over the area of the triangles.

    Source: Osada, Funkhouser, Chazelle, Dobkin, Shape Distributions, 2002, section 3.1.

    Raises:
        ValueError: no area, or coordinates beyond the range of float32.
    """
    a, b, c = vertices[faces].transpose(1, 0, 2)  # (m, 3) each
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        total = np.cumsum(area)
    if not 0 < total[-1] < np.inf:
        raise ValueError(f"surface of area {total[-1] / 2:g}; nothing to sample")
    face = np.searchsorted(total, rng.random(count) * total[-1], side="right")
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    points = (1 - root) * a[face] + root * (1 - along) * b[face] + root * along * c[face]
    with np.errstate(over="ignore"):
        single = points.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError("coordinates beyond the range of float32; normalise the shape")
    return single


def voxelize(
    vertices: Vertices, faces: Faces, resolution: int, fill: bool = False
) -> NDArray[np.bool_]:
    """(r, r, r) occupancy of the surface of a shape in the unit cube around 0.

    A voxel is set when a lattice on a triangle, of half a voxel's spacing or less, has a point in
    it; corners that the surface merely grazes may stay unset.

    Args:
        fill: also set the voxels that the surface shuts in; an open surface shuts in nothing.
    """
    grid = np.zeros((resolution,) * 3, bool)
    for points in _lattices(vertices[faces], 0.5 / resolution):
        cell = np.clip(((points + 0.5) * resolution).astype(np.int64), 0, resolution - 1)
        grid[cell[:, 0], cell[:, 1], cell[:, 2]] = True
    if fill:
        from scipy.ndimage import binary_fill_holes

        grid = np.asarray(binary_fill_holes(grid))
    return grid


def _lattices(corners: NDArray[np.float64], spacing: float) -> Iterator[NDArray[np.float64]]:
    """Points (k, 3) on the triangles (m, 3, 3), no two neighbours farther apart than `spacing`."""
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    steps = np.maximum(np.ceil(longest / spacing), 1).astype(np.int64)  # parts of each edge
    for n in np.unique(steps):
        i, j = np.divmod(np.arange((n + 1) ** 2), n + 1)
        i, j = i[i + j <= n], j[i + j <= n]
        weights = np.stack([i, j, n - i - j], axis=1) / n  # (k, 3)
        some = corners[steps == n]
        batch = max(1, MAX_LATTICE // len(weights))
        for start in range(0, len(some), batch):
            yield np.matmul(weights, some[start : start + batch]).reshape(-1, 3)
