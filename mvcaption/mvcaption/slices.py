"""Cuts through a mesh and pictures of it as cells: sections at a height, silhouettes, depths.

Nothing here needs a closed surface: a section is the set of segments in which the triangles meet
the plane, and what it encloses is filled on the grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cells = NDArray[np.bool_]
CELLS = 128  # of a section, along the longer side
PIXELS = 96  # of a silhouette, along the longer side


def section(vertices: Floats, faces: Ints, height: float) -> Floats:
    """(k, 2, 2) segments (x, z) in which the triangles meet the plane y = `height`."""
    y = vertices[faces, 1] - height  # (m, 3)
    crossing = (y.min(axis=1) < 0) & (y.max(axis=1) > 0)
    corners, y = vertices[faces[crossing]], y[crossing]
    ends = np.zeros((len(y), 3, 2))
    cut = np.zeros((len(y), 3), bool)
    for edge in range(3):
        a, b = y[:, edge], y[:, (edge + 1) % 3]
        cut[:, edge] = (a < 0) != (b < 0)
        share = np.divide(a, a - b, out=np.zeros_like(a), where=a != b)[:, None]
        along = corners[:, edge] * (1 - share) + corners[:, (edge + 1) % 3] * share
        ends[:, edge] = along[:, [0, 2]]
    two = cut.sum(axis=1) == 2
    return np.asarray(ends[two][cut[two]].reshape(-1, 2, 2))


def filled_cells(segments: Floats, low: Floats, side: float) -> Cells:
    """Cells touched by segments or enclosed by them, on a grid from `low` with CELLS + 2 a side.

    Args:
        segments: (k, 2, 2).
        low:      (2,) corner of the square.
        side:     its length.
    """
    from scipy import ndimage

    grid = np.zeros((CELLS + 2, CELLS + 2), bool)
    if len(segments):
        cell = side / CELLS
        length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)
        steps = np.maximum(np.ceil(length / (0.5 * cell)).astype(int), 1) + 1
        which = np.repeat(np.arange(len(segments)), steps)
        first = np.repeat(np.cumsum(steps) - steps, steps)
        share = ((np.arange(len(which)) - first) / (steps[which] - 1))[:, None]
        points = segments[which, 0] * (1 - share) + segments[which, 1] * share
        places = np.clip(((points - low) / cell).astype(int), 0, CELLS - 1) + 1
        grid[places[:, 0], places[:, 1]] = True
    filled: Cells = ndimage.binary_fill_holes(grid)
    return filled


def count_parts(cells: Cells) -> int:
    """Connected groups of cells, by sides and corners."""
    from scipy import ndimage

    return int(ndimage.label(cells, np.ones((3, 3)))[1])


class Depths:
    """Rays along an axis, from both ends, through the pixels of the bounding rectangle."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.low, self.high = vertices.min(axis=0), vertices.max(axis=0)
        self.scene = EmbreeScene()
        TriangleMesh(self.scene, vertices.astype(np.float32)[faces])

    def first_hits(self, axis: int, sign: int) -> Floats:
        """(p, q) coordinate along `axis` of the first surface met by rays that go towards -sign.

        Pixels are in the order of the two other axes; nan where nothing is met.
        """
        others = [i for i in range(3) if i != axis]
        extent = self.high - self.low
        cell = extent[others].max() / PIXELS
        counts = [max(round(float(extent[i] / cell)), 1) for i in others]
        lines = [
            self.low[i] + (np.arange(n) + 0.5) * extent[i] / n
            for i, n in zip(others, counts, strict=True)
        ]
        origins = np.zeros((counts[0], counts[1], 3), np.float32)
        origins[..., others[0]], origins[..., others[1]] = np.meshgrid(*lines, indexing="ij")
        reach = 1.0 + extent[axis]
        start = (self.high if sign > 0 else self.low)[axis] + sign
        origins[..., axis] = start
        away = np.zeros((1, 3), np.float32)
        away[0, axis] = -sign
        flat = np.ascontiguousarray(origins.reshape(-1, 3))
        found = self.scene.run(flat, away, output=True)
        depth = np.where(found["primID"] >= 0, found["tfar"], np.nan).astype(np.float64)
        depth[~(depth <= reach + 1.0)] = np.nan
        return np.asarray((start - sign * depth).reshape(counts))


def openings(silhouette: Cells, least: float = 0.004) -> int:
    """Holes that one can see through: empty cells that the shape encloses.

    Args:
        least: share of the filled silhouette below which a hole does not count.
    """
    from scipy import ndimage

    filled = ndimage.binary_fill_holes(np.pad(silhouette, 1))
    holes, count = ndimage.label(filled & ~np.pad(silhouette, 1))
    sizes = ndimage.sum_labels(np.ones_like(holes), holes, np.arange(1, count + 1))
    return int((np.asarray(sizes) >= least * filled.sum()).sum())
