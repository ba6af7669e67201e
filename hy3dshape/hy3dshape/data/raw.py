"""Clouds and signed distance samples of `{uid}.npz` (formats/npz.md), as VecSetX draws them.

Source: VecSetX (github.com/1zb/VecSetX), with one deviation: inside points that are missing in the
volume come from the near-surface points, and stay.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Augmentation = Literal["none", "light", "full"]
SDF_OF = {"vol_points": "vol_sdf", "near_points": "near_sdf"}


@dataclass(frozen=True)
class RawOptions:
    """How many points of each kind, and what is done to them.

    Attributes:
        surface_size:     points of the cloud.
        random_surface:   draw them, else the first ones.
        distances:        also query points with labels.
        occupancy_labels: labels are 1 inside and 0 outside, else signed distances.
        vol_samples:      half inside, half outside.
    """

    surface_size: int = 8192
    random_surface: bool = True
    distances: bool = True
    occupancy_labels: bool = False
    vol_samples: int = 1024
    near_samples: int = 1024


def draw_sample(
    arrays: Mapping[str, Floats], options: RawOptions, rng: np.random.Generator
) -> dict[str, Floats]:
    """`surface` (s, 3) and, with distances, `points` (v + n, 3) and `labels` (v + n).

    Points are the volume ones, then the near ones.

    Raises:
        ValueError: the sample holds no point inside, or none outside.
    """
    surface = arrays["surface_points"]
    rows = _rows(len(surface), options.surface_size, rng) if options.random_surface else slice(None)
    made = {"surface": surface[rows][: options.surface_size]}
    if len(made["surface"]) < options.surface_size:
        raise ValueError(f"surface_points: {len(surface)}, fewer than {options.surface_size}")
    if options.distances:
        points, sdf = balanced(arrays, options.vol_samples, rng)
        near = _rows(len(arrays["near_points"]), options.near_samples, rng)
        made["points"] = np.concatenate([points, arrays["near_points"][near]])
        made["labels"] = np.concatenate([sdf, arrays["near_sdf"][near]])
        if options.occupancy_labels:
            made["labels"] = (made["labels"] < 0).astype(np.float32)
    return made


def balanced(
    arrays: Mapping[str, Floats], count: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Volume points (count, 3) and distances, half of them inside (sdf < 0).

    A side with too few volume points is filled up with near-surface points of that side.
    """
    points, distances = [], []
    for inside, wanted in ((True, count // 2), (False, count - count // 2)):
        for key in SDF_OF:
            sdf = arrays[SDF_OF[key]]
            side = np.flatnonzero((sdf < 0) == inside)
            last = key == "near_points"
            rows = side[_rows(len(side), wanted if last else min(wanted, len(side)), rng)]
            points.append(arrays[key][rows])
            distances.append(sdf[rows])
            wanted -= len(rows)
        if wanted:
            raise ValueError(f"no point lies {'inside' if inside else 'outside'} the shape")
    return np.concatenate(points), np.concatenate(distances)


def _rows(there: int, wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` of the row numbers, twice only where there are too few; none of none."""
    if wanted <= there:
        return rng.choice(there, wanted, replace=False, shuffle=True)
    return rng.integers(there, size=wanted) if there else np.empty(0, np.int64)


def random_rotation(kind: Augmentation, rng: np.random.Generator) -> Floats:
    """Orthogonal (3, 3) for row vectors: permuted axes and signs; `full`: and Rz Ry Rx.

    The angles of the rotation are N(0, 1) radians. Signs include mirror images.
    """
    if kind == "none":
        return np.eye(3, dtype=np.float32)
    matrix = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    if kind == "full":
        for axis, angle in enumerate(rng.normal(size=3)):  # x, then y, then z
            matrix = matrix @ _turn(axis, angle).T
    return matrix.astype(np.float32)


def _turn(axis: int, angle: float) -> NDArray[np.float64]:
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[a, a] = turn[b, b] = np.cos(angle)
    turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
    return turn


def read_raw(path: Path, distances: bool = True) -> dict[str, Floats]:
    """Arrays of a file as float32. Raises ValueError naming file and array."""
    lengths = {"surface_points": 2} | ({k: 2 for k in SDF_OF} if distances else {})
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            names = [*lengths, *(SDF_OF.values() if distances else ())]
            absent = [name for name in names if name not in archive.files]
            if absent:
                raise ValueError(f"{path}: no array {', '.join(absent)}; it has {archive.files}")
            arrays = {name: np.asarray(archive[name], np.float32) for name in names}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: not a readable npz archive: {error}") from error
    for name in lengths:
        arrays[name] = arrays[name].reshape(len(arrays[name]), -1)[:, :3]
        _check(path, name, arrays)
    return arrays


def _check(path: Path, name: str, arrays: Mapping[str, Floats]) -> None:
    points, sdf = arrays[name], arrays.get(SDF_OF.get(name, ""))
    if points.shape[1] != 3 or not len(points):
        raise ValueError(f"{path}: {name}: expected (n, 3), found {points.shape}")
    if sdf is not None and sdf.shape != (len(points),):
        raise ValueError(f"{path}: {SDF_OF[name]}: expected ({len(points)},), found {sdf.shape}")
    if not np.isfinite(points).all() or (sdf is not None and not np.isfinite(sdf).all()):
        raise ValueError(f"{path}: {name}: holds NaN or infinity; sample this shape again")
