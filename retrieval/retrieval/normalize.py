"""Move and scale a shape into a standard frame, so that clouds of two shapes can be compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAMES = ("unit-sphere", "unit-cube", "none")


def normalize(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], frame: str
) -> NDArray[np.float64]:
    """Vertices (n, 3) in the frame; only those that a triangle of `faces` (m, 3) uses decide it.

    Args:
        frame: `unit-sphere`: middle of the bounding box at 0, farthest vertex at distance 1;
               `unit-cube`: middle at 0, longest side of the box 1; `none`: as they are.

    Raises:
        ValueError: unknown frame, or all used vertices in one place.
    """
    if frame not in FRAMES:
        raise ValueError(f"unknown frame {frame!r}; one of {', '.join(FRAMES)}")
    if frame == "none":
        return vertices
    used = vertices[np.unique(faces)]
    large = float(np.abs(used).max()) or 1.0  # first to 1, so that squares cannot overflow
    used, vertices = used / large, vertices / large
    low, high = used.min(axis=0), used.max(axis=0)
    middle = (low + high) / 2
    size = float(np.linalg.norm(used - middle, axis=1).max())
    if frame == "unit-cube":
        size = float((high - low).max())
    if size == 0:
        raise ValueError("all vertices in one place; a shape needs an extent")
    return np.asarray((vertices - middle) / size)
