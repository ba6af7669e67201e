"""Closed meshes of occupancy probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .files import replacing

SMOOTHING = 0.7  # cells, standard deviation


def mesh_of(
    probability: np.ndarray, level: float = 0.5, smoothing: float = SMOOTHING
) -> tuple[np.ndarray, np.ndarray]:
    """The surface where the probability of (R, R, R) is `level`, closed and facing outward.

    Args:
        probability: of occupancy, 0 to 1; a grid of 0 and 1 will do.
        level: of the surface, above 0 and below 1.
        smoothing: standard deviation in cells of a Gaussian filter before; 0: none.

    Returns:
        Vertices (n, 3) float64, in [-1, 1] where cell centres 0 and R - 1 are at the ends, in the
        order of the grid's axes; faces (m, 3) int64.

    Raises:
        ValueError: the probability is nowhere on both sides of the level.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes

    r = probability.shape[0]
    margin = 2 + int(np.ceil(4 * smoothing))
    field = np.pad(np.asarray(probability, np.float32), margin)
    if smoothing:
        field = gaussian_filter(field, smoothing, mode="constant")
    if not field.min() < level < field.max():
        raise ValueError(
            f"no surface: the largest probability is {float(np.max(probability)):.3g}"
            + (f", smoothed {float(field.max()):.3g}" if smoothing else "")
            + f", the level {level:g}"
        )
    vertices, faces, _, _ = marching_cubes(field, level, gradient_direction="ascent")
    return (vertices - margin) * (2 / (r - 1)) - 1, faces.astype(np.int64)


def write_mesh(path: Path, probability: np.ndarray, level: float) -> None:
    """`mesh_of` as a file of the kind that its suffix says. Raises as `mesh_of`."""
    import trimesh

    vertices, faces = mesh_of(probability, level)
    with replacing(path) as temporary:
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        mesh.export(temporary, file_type=path.suffix[1:])
