"""Points, surfaces and solids to binary grids. No I/O.

Two rules place a shape in a grid of r cells a side; p is in [0, 1].

- aspect kept (default): p = (x - low) / longest side, the other axes in the middle. A cell is a
  part of the cube, floor(p r), and p = 1 belongs to the last one. So the grid of 2 r cells, pooled
  by 2 with the maximum, is the grid of r cells.
- stretched, as the KAIST CS492(D) project has it: p = (x - low) / side for each axis by itself,
  floor(p (r - 1)). The last cell of an axis holds the points at its maximum alone, and pooling does
  not give the smaller grid.

A cell is set when a point is in it, or when a triangle touches it. A surface on the border of two
cells is in the upper one: surfaces are moved up by `NUDGE` of the cube, more than rounding and
much less than a cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.uint8]
Floats = NDArray[np.float64]
NUDGE = 2.0**-26
AXES = "xyz"


def of_points(points: NDArray[np.floating[Any]], resolution: int, stretch: bool = False) -> Grid:
    """(r, r, r) grid of the cells that hold a point.

    Args:
        points:  (n, 3), in any unit; stretched ones are computed in their own precision.
        stretch: see above.

    Raises:
        ValueError: none, of another shape, not finite, or flat along an axis.
    """
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"points are {points.shape}; expected (n, 3) with n of 1 or more")
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise ValueError(f"point {bad} is not finite")
    points = np.asarray(points, np.float64) if not stretch else points
    low, high = points.min(axis=0), points.max(axis=0)
    _refuse_flat(low, high)
    span = resolution - 1 if stretch else resolution
    cells = np.floor(_in_cube(points, low, high, stretch) * span).astype(np.int64)
    grid = np.zeros((resolution,) * 3, np.uint8)
    grid[tuple(np.minimum(cells, resolution - 1).T)] = 1
    return grid


def of_mesh(
    vertices: Floats,
    faces: NDArray[np.int64],
    resolution: int,
    stretch: bool = False,
    solid: bool = False,
) -> Grid:
    """(r, r, r) grid of the cells that the surface touches, and with `solid` those it shuts in.

    Args:
        vertices: (n, 3), finite; those that no face uses do not count.
        faces:    (m, 3) corners, m >= 1.

    Raises:
        ValueError: all corners in one place; with `stretch`, flat along an axis.
    """
    from .overlap import touch

    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    if stretch:
        _refuse_flat(low, high)
    elif not (high > low).any():
        raise ValueError("all corners in one place; a shape needs an extent")
    span = resolution - 1 if stretch else resolution
    places = (_in_cube(vertices, low, high, stretch) + NUDGE) * span
    corners = np.clip(places, 0, resolution * (1 - NUDGE))[faces]
    grid = np.zeros((resolution,) * 3, np.uint8)
    touch(np.ascontiguousarray(corners), grid)
    return filled(grid) if solid else grid


def filled(grid: Grid) -> Grid:
    """The grid with all cells set that the surface and the ground under it shut in.

    Those are the cells that cannot be reached over faces of free cells from the border of the grid,
    from below not at all: the lowest layer with a set cell (the second axis is up) stands on the
    ground, so that furniture without a bottom is solid. The surface has to be closed at the size of
    a cell only; faces that are turned or doubled do not count. Cavities are filled as well.
    """
    from scipy.ndimage import label

    low = int(np.flatnonzero(grid.any(axis=(0, 2)))[0])
    above = np.pad(grid[:, low:] == 0, ((1, 1), (0, 1), (1, 1)), constant_values=True)
    names, _ = label(above)
    made = grid.copy()
    made[:, low:] = (names != names[0, 0, 0])[1:-1, :-1, 1:-1]
    return made


def _refuse_flat(low: NDArray[Any], high: NDArray[Any]) -> None:
    flat = [name for name, a, b in zip(AXES, low, high, strict=True) if not b > a]
    if flat:
        raise ValueError(f"flat: no extent along {', '.join(flat)}")


def _in_cube(points: Any, low: Any, high: Any, stretch: bool) -> Any:
    """(n, 3) places in [0, 1]. Raises ValueError when the extent overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        side = high - low
        size = side if stretch else side.max()
        placed = (points - low) / size
    if not np.isfinite(size).all() or not np.isfinite(placed).all():
        raise ValueError("its extent is beyond the range of the numbers; scale it down")
    return placed if stretch else placed + (1 - side / size) / 2
