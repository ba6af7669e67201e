"""Grid values to a clean mesh with outward faces.

Marching cubes (Lewiner's, scikit-image). The released code of arXiv:2512.23628 flips the faces of
fields that are negative inside, and its meshes are inside out; these are not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]  # (n, 3) vertices, (m, 3) faces


def extract_surface(values: NDArray[np.float32], bounds: float, level: float = 0.0) -> Mesh:
    """Surface of a field that is below `level` inside, closed at the walls of the grid.

    Args:
        values: (r + 1, r + 1, r + 1), axes x, y, z from -bounds to bounds.
        bounds: half the side of the grid.
        level: iso level.

    Returns:
        Vertices in the unit of `bounds` and faces wound outward.

    Raises:
        ValueError: the field never crosses the level, or is not finite.
    """
    from skimage.measure import marching_cubes

    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("the field is not finite: NaN or infinity on the grid")
    if not low < level:
        raise ValueError(f"the field has no inside: its least value is {low:.4g}, level {level:g}")
    if high < level:
        raise ValueError(f"the field has no outside: its largest is {high:.4g}, level {level:g}")
    walls = _walls(values)
    if walls < level:
        values = np.pad(values, 1, constant_values=max(2 * level - walls, high))
    pad = int(walls < level)
    resolution = values.shape[0] - 1 - 2 * pad
    vertices, faces, _, _ = marching_cubes(values, level)
    return (vertices - pad) * (2 * bounds / resolution) - bounds, faces.astype(np.int64)


def _walls(values: NDArray[np.float32]) -> float:
    ends = [np.take(values, [0, -1], axis=axis).min() for axis in range(3)]
    return float(min(ends))


def remove_floaters(mesh: Mesh, share: float = 0.005) -> Mesh:
    """The mesh without its edge-connected components of less than `share` of all faces.

    The largest component always stays. Source: Hunyuan3D-2.1 drops components below 0.5 %.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    vertices, faces = mesh
    if len(faces) == 0:
        return mesh
    ones = np.ones(2 * len(faces), bool)
    links = coo_matrix(
        (ones, (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())),
        shape=(len(vertices), len(vertices)),
    )
    _, of_vertex = connected_components(links, directed=False)
    of_face = of_vertex[faces[:, 0]]
    sizes = np.bincount(of_face)
    kept = (sizes >= share * len(faces)) | (np.arange(len(sizes)) == sizes.argmax())
    used, faces = np.unique(faces[kept[of_face]], return_inverse=True)
    return vertices[used], faces.reshape(-1, 3).astype(np.int64)
