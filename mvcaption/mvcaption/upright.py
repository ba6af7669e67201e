"""How the meshes of a set must be turned to stand upright: `up` and `rotation` of shapes.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import read_json

Floats = NDArray[np.float64]
UPS = ("file", "y", "z")

_TO_Y: dict[str, list[list[int]]] = {  # by the axis that points up in the file
    "x": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    "-x": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
    "y": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "-y": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "z": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "-z": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
}


class Turns:
    """Rotation of each shape from the axes of its file to x right, y up, z to the front.

    Args:
        source: what --input names; only a shapes.json, or a folder with one, knows its axes.
        up:     "y" or "z" for all shapes; "file": as shapes.json says, y where it is silent.

    Raises:
        ValueError: an `up` or `rotation` in shapes.json is none.
    """

    def __init__(self, source: Path, up: str) -> None:
        self.common = np.array(_TO_Y["y" if up == "file" else up], np.float64)
        index = source / "shapes.json" if source.is_dir() else source
        known = up == "file" and index.suffix == ".json" and index.is_file()
        rows = read_json(index)["shapes"] if known else []
        self.own = {row["id"]: self._read(row, f"{index}: {row['id']!r}") for row in rows}

    def of(self, name: str) -> Floats:
        """(3, 3) rotation of a shape by id."""
        return self.own.get(name, self.common)

    def _read(self, row: dict[str, Any], place: str) -> Floats:
        axis = row.get("up", "y")
        if axis not in _TO_Y:
            raise ValueError(f"{place}: 'up' is {axis!r}, expected one of {', '.join(_TO_Y)}")
        if "rotation" not in row:
            return np.array(_TO_Y[axis], np.float64)
        try:
            turn = np.array(row["rotation"], np.float64).reshape(3, 3)
        except (TypeError, ValueError):
            turn = np.zeros((3, 3))
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
            raise ValueError(f"{place}: 'rotation' is no rotation (nine numbers, row by row)")
        return turn
