"""A closed surface around any triangles: unsigned-distance shell and outside flood fill. No I/O.

On a grid, places nearer to a triangle than one grid step are the shell; what can be reached from
the border of the grid without entering the shell is outside. The boundary between the two, at a
distance of one step from the triangles, is the new surface (marching cubes, Lorensen and Cline
1987). So a sheet becomes a plate two steps thick, gaps narrower than two steps close, cavities
and parts that cannot be seen from outside vanish, and all else grows by one step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .nearest_kernels import Bools
from .signed import SignedMesh
from .solids import Floats, Ints

Floats32 = NDArray[np.float32]
_MARGIN = 4  # grid steps between the bounding box and the border of the grid
_BAND = 2.0  # steps from a triangle within which distances are computed
MAX_POINTS = 600_000  # distances of one grid: half a second to two
_EIGHT = np.array(np.unravel_index(np.arange(8), (2, 2, 2))).T  # parts of a block
_BLOCK = 16  # steps of the blocks that are divided first; a power of two


def closed_around(mesh: SignedMesh, resolution: int) -> tuple[Floats, Ints, int]:
    """The outer surface, one grid step from a mesh.

    Args:
        mesh:       any triangles.
        resolution: grid steps along the longest side of the bounding box. A mesh that would need
            over MAX_POINTS distances gets as many steps as it can have, three quarters at most.

    Returns:
        vertices (n, 3), faces (m, 3): closed, wound outwards; and the resolution.
    """
    from skimage.measure import marching_cubes

    distances, origin, step, resolution = banded(mesh, resolution)
    field = np.where(_outside(distances > 1), distances - 1, np.minimum(distances, 1) - 1)
    field[field == 0] = -np.float32(1e-6)  # no vertex of the surface on one of the grid
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent")
    return vertices.astype(np.float64) * step + origin, faces.astype(np.int64), resolution


def banded(mesh: SignedMesh, resolution: int) -> tuple[Floats32, Floats, float, int]:
    """Distances to a mesh on a grid around it; arguments as for `closed_around`.

    Returns:
        distances (x, y, z): in steps, exact up to _BAND; farther, anything from there to _BAND + 1.
        origin (3,), step:   where the first grid point is, and the next; in units of the mesh.
        resolution:          the one used.
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    while True:
        step = float((high - low).max()) / resolution
        origin = low - _MARGIN * step
        blocks = np.ceil(((high - low) / step + 2 * _MARGIN) / _BLOCK).astype(np.int64)
        cells = _near(mesh, origin, step, blocks)
        if isinstance(cells, np.ndarray):
            break
        resolution = int(resolution * min(0.75, np.sqrt(MAX_POINTS / cells)))
    distances = np.full((blocks * _BLOCK).tolist(), np.float32(_BAND + 1))
    found = mesh.nearest.distance(origin + step * cells) / step
    distances[tuple(cells.T)] = np.minimum(found, _BAND + 1)
    return distances, origin, step, resolution


def _near(mesh: SignedMesh, origin: Floats, step: float, blocks: Ints) -> Ints | int:
    """Grid points (k, 3) that may be within _BAND steps; at least how many, if over MAX_POINTS.

    A block near a surface has four or more parts of eight that are near it.
    """
    cells = np.stack(np.meshgrid(*map(np.arange, blocks), indexing="ij"), axis=-1).reshape(-1, 3)
    size = _BLOCK
    while size > 1:
        middle = origin + step * (cells * size + (size - 1) / 2)
        reach = step * (_BAND + (size - 1) / 2 * np.sqrt(3))
        cells = cells[mesh.nearest.distance(middle) <= reach]
        cells = (cells[:, None] * 2 + _EIGHT).reshape(-1, 3)
        size //= 2
        if len(cells) * size**2 > MAX_POINTS:
            return len(cells) * size**2
    return cells


def _outside(free: Bools) -> Bools:
    """Grid points that are connected to the corner of the grid through free ones."""
    from scipy.ndimage import label

    names = label(free)[0]
    return names == names[0, 0, 0]
