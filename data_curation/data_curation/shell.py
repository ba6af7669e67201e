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

from .signed import Bools, SignedMesh
from .solids import Floats, Ints

Grid = NDArray[np.float32]
_MARGIN = 4  # grid steps between the bounding box and the border of the grid
_BAND = 3.0  # steps from a triangle within which distances are computed
_BLOCK = 16  # steps of the blocks that are divided first; a power of two


def closed_around(mesh: SignedMesh, resolution: int) -> tuple[Floats, Ints]:
    """The outer surface, one grid step from a mesh.

    Args:
        mesh:       any triangles.
        resolution: grid steps along the longest side of the bounding box.

    Returns:
        vertices (n, 3) and faces (m, 3): closed, wound outwards.
    """
    from skimage.measure import marching_cubes

    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    step = float((high - low).max()) / resolution
    blocks = tuple(int(n) for n in np.ceil(((high - low) / step + 2 * _MARGIN) / _BLOCK))
    distances = _distances(mesh, low - _MARGIN * step, step, blocks)
    field = np.where(_outside(distances > 1), distances - 1, np.minimum(distances, 1) - 1)
    field[field == 0] = -np.float32(1e-6)  # no vertex of the surface on one of the grid
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="ascent")
    vertices = vertices.astype(np.float64) * step + low - _MARGIN * step
    return vertices, faces.astype(np.int64)


def _distances(mesh: SignedMesh, origin: Floats, step: float, blocks: tuple[int, ...]) -> Grid:
    """Distances in steps at all grid points; where they are over the band, only that they are."""
    distances = np.full([n * _BLOCK for n in blocks], _BAND + 1, np.float32)
    cells = np.indices(blocks).reshape(3, -1).T
    size = _BLOCK
    while size > 1:
        middle = origin + step * (cells * size + (size - 1) / 2)
        reach = step * (_BAND + (size - 1) / 2 * np.sqrt(3))
        cells = cells[mesh.distance(middle) <= reach]
        cells = (cells[:, None] * 2 + np.indices((2, 2, 2)).reshape(3, -1).T).reshape(-1, 3)
        size //= 2
    found = mesh.distance(origin + step * cells) / step
    distances[tuple(cells.T)] = np.minimum(found, _BAND + 1)
    return distances


def _outside(free: Bools) -> Bools:
    """Grid points that are connected to the corner of the grid through free ones."""
    from scipy.ndimage import label

    names = label(free)[0]
    return names == names[0, 0, 0]
